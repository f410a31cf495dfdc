//! The project's own commands. `cargo xtask test` is the whole suite, as CI runs it.

mod bench;
mod busy;
mod crash_states;
mod fuzz;
mod growth_bench;
mod hostile;
mod index_bench;
mod long_run;
mod mutants;
mod node;
mod packages;
mod powercut;
mod process;
mod project;
mod record;
mod sabotage;
mod scorecard;
mod smuggling;
mod stages;
mod start_bench;
mod suite;
mod xfs;

use std::process::ExitCode;

use process::Failed;
use suite::SuiteOptions;

const HELP: &str = "\
cargo xtask test [--without-xfs] [--busy]
                                   the whole suite: formatting, lints, all tests, the README, the real
                                   daemon on ext4 and on XFS. Installs Debian packages that are missing
                                   when run as root. Prints each stage with its time, and at the end
                                   what failed. --busy keeps every core busy beside it
cargo xtask sabotage [--all]       builds mistakes in on purpose (src/sabotage.rs) and runs for each the
                                   test that is known to notice it; with --all, all that might, and
                                   prints which did
cargo xtask scorecard              prints what the tests are worth in figures, with the last of the long
                                   runs, and records it under bench/results/
cargo xtask seeds [--seeds N]      simulates so many nodes with their clients (200000), each twice, and
                                   records it there
cargo xtask kills [--kills N]      kills the daemon so often under load (1000), and records it there
cargo xtask crash-states [--states N]
                                   looks at so many states (20000000) that power cuts can leave of
                                   histories of three operations, and records it under bench/results/
cargo xtask bench [FLAG...]        measures Hayloft against the device, nginx and SeaweedFS, pair by pair, and
                                   records it there; hours. --quick tries it out, --only NAME,...
                                   chooses workloads, --readme puts figures into README.md; --help
                                   lists the flags. As root it makes an XFS of its own, else --dir DIR
cargo xtask index-bench [--entries N]
                                   measures what the index costs in memory and time with so many needles
                                   (10M), and records it there
cargo xtask growth-bench [--needles N]
                                   fills a daemon with so many photos (5000000) in three orders of names,
                                   looks at its memory, its turns and reads beside it, and records it there
cargo xtask start-bench [--needles N]
                                   measures how long a start takes with so many photos (1000000): after a stop
                                   in order, after a kill, without a checkpoint; and records it there
cargo xtask mutants [--file PATH]... [--changed [BASE]] [--sample N|AREA=N,...] [--seed N] [--budget S]
                    [--longest S] [--tests BINARY,...] [--jobs N] [--survivors] [--list]
                                   makes small mistakes in the sources, one at a time (those in files, or in
                                   lines that differ from BASE, HEAD~1; at most N of each part of the
                                   code), runs the tests that reach each for up to S seconds (60), and
                                   records which were not noticed. Goes on where it was stopped;
                                   --survivors leaves out what was noticed before tests were changed
cargo xtask hostile                measures what clients that are slow or hang up cost the others, and
                                   records it there
cargo xtask powercut [FLAG...]     cuts the power of the release build on XFS, shuts XFS down under
                                   it and lets its disk fail, and records there what was lost:
                                   nothing. As root; --help lists the flags (--cuts N,
                                   --shutdowns N, --seconds S, --shards 1|2, ...)
cargo xtask fuzz [--seconds N] [--keep] [TARGET]
                                   fuzzes all targets, or one, for N seconds each (60) and records what
                                   came of it there. With --keep what is worth keeping replaces the
                                   corpora in fuzz/corpus/. Needs nightly Rust and cargo-fuzz
cargo xtask smuggling [--streams N] [--seed N]
                                   sends N mutated streams (1000000) through a real nginx, compares what
                                   it and the daemon saw in them, and records it there";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["test", ref flags @ ..] => SuiteOptions::parse(flags).map(|it| suite::run_all(&it)),
        ["sabotage"] => Some(sabotage::run_all(false)),
        ["sabotage", "--all"] => Some(sabotage::run_all(true)),
        ["scorecard"] => Some(scorecard::scorecard()),
        ["seeds", ref rest @ ..] => long_run::count(rest, "--seeds", 200_000).map(long_run::seeds),
        ["kills", ref rest @ ..] => long_run::count(rest, "--kills", 1000).map(long_run::kills),
        ["crash-states", ref flags @ ..] => Some(crash_states::run_long(flags)),
        ["bench", ref flags @ ..] => Some(bench::bench(flags)),
        ["index-bench", ref flags @ ..] => Some(index_bench::index_bench(flags)),
        ["growth-bench", ref flags @ ..] => Some(growth_bench::growth_bench(flags)),
        ["start-bench", ref flags @ ..] => Some(start_bench::start_bench(flags)),
        ["mutants", ref flags @ ..] => {
            mutants::Options::parse(flags).map(|it| mutants::mutants(&it))
        }
        ["hostile"] => Some(hostile::hostile()),
        ["powercut", ref flags @ ..] => Some(powercut::powercut(flags)),
        ["fuzz", ref rest @ ..] => fuzz::plan(rest).map(|plan| fuzz::fuzz(&plan)),
        ["smuggling", ref rest @ ..] => {
            smuggling::plan(rest).map(|plan| smuggling::smuggling(&plan))
        }
        _ => None,
    };
    let Some(result) = result else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            eprintln!("\nxtask: {why}");
            ExitCode::FAILURE
        }
    }
}
