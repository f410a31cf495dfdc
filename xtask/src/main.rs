//! Development commands of the project. `cargo xtask test` is the whole suite, as run by CI.

mod areas;
mod background;
mod bench;
mod busy;
mod coverage;
mod crash_states;
mod dependencies;
mod fuzz;
mod growth_bench;
mod hostile;
mod http;
mod index_bench;
mod long_run;
mod mutants;
mod node;
mod packages;
mod photos;
mod powercut;
mod process;
mod project;
mod proto;
mod record;
mod sabotage;
mod scorecard;
mod smuggling;
mod stages;
mod start_bench;
mod suite;
mod syntax;
mod test_binaries;
mod weed;
mod xfs;

use std::process::ExitCode;

use process::Failed;
use suite::SuiteOptions;

const HELP: &str = "\
cargo xtask test [--without-xfs] [--busy]
                                   runs the whole suite: formatting, lints, all tests, the README, the
                                   real daemon on ext4 and on XFS. As root it installs missing Debian
                                   packages. Prints each stage with its time, and a summary of
                                   failures. --busy keeps every core busy while the tests run
cargo xtask quick                  checks formatting, lints, unit tests and tidiness, in under two minutes
                                   after a small change
cargo xtask sabotage [--all]       enables one deliberate mistake at a time (src/base/sabotage.rs) and runs
                                   the test that is known to detect it; with --all, runs all tests
                                   that might, and prints which did
cargo xtask scorecard              prints the figures of the test suite, with the last results of the
                                   long runs, and records them under bench/results/
cargo xtask seeds [--seeds N]      simulates N nodes with clients (200000), each twice, and records the
                                   result there
cargo xtask kills [--kills N]      kills the daemon N times under load (1000), and records the result
cargo xtask crash-states [--states N]
                                   checks N crash states (20000000) of histories of three operations,
                                   and records the result
cargo xtask bench [FLAG...]        measures Hayloft against the device, nginx and SeaweedFS in pairs, and
                                   records the result; takes hours. --quick is a trial run, --only
                                   NAME,... selects workloads, --readme updates the figures in
                                   README.md; --help lists the flags. As root it makes an XFS,
                                   otherwise give --dir DIR
cargo xtask compaction [--quick] [--only PART,...] [--needles N] [--dir DIR]
                                   measures compactions: their effect on reads and writes, the wait at
                                   the swap, bytes read and written, the rate when idle, remains of
                                   deleted photos, 50 refills of a small disk, memory with N needles
                                   (1000000); and records the results. As root. --quick is a trial run
cargo xtask health [--quick] [--only PART,...] [--dir DIR]
                                   measures scrubs (whether 1000 planted damages are found, and the effect on
                                   reads), ill disks, record streams, a list of 10 million photos, and
                                   copies while daemons are killed; and records the results. As root.
                                   --quick is a trial run
cargo xtask index-bench [--entries N]
                                   measures memory and CPU time of the index with N needles (10M), and
                                   records the result
cargo xtask growth-bench [--needles N]
                                   fills a daemon with N photos (5000000) in three orders of names,
                                   measures memory, event loop iterations and concurrent reads, and
                                   records the result
cargo xtask start-bench [--needles N]
                                   measures the start time with N photos (1000000): after a clean stop,
                                   after a kill, without a checkpoint; and records the result
cargo xtask mutants [--file PATH]... [--changed [BASE]] [--sample N|AREA=N,...] [--seed N] [--budget S]
                    [--longest S] [--tests BINARY,...] [--jobs N] [--survivors] [--list]
                                   makes small mistakes in the sources, one at a time (in files, or in
                                   lines that differ from BASE, HEAD~1; at most N per part of the
                                   code), runs the tests that reach each for up to S seconds (60), and
                                   records the undetected ones. Continues where it was stopped;
                                   --survivors leaves out those that were detected before tests changed
cargo xtask coverage [--tests BINARY,...] [--area AREA,...] [--add] [--list]
                                   runs the tests with counters built in, lists the code and the results
                                   of conditions that none reaches, and records the result. --add adds
                                   to what was measured before; --list only lists it again. Needs
                                   cargo-llvm-cov and the llvm-tools of the toolchain
cargo xtask hostile                measures the effect of slow and disconnecting clients on others, and
                                   records the result
cargo xtask powercut [FLAG...]     cuts the power of the release build on XFS, shuts XFS down under it and
                                   lets its disk fail, and records the losses (expected: none). As
                                   root; --help lists the flags (--cuts N, --shutdowns N, --seconds S,
                                   --shards 1|2, ...). With --compact: 200 power cuts, 20 kills and 20
                                   shutdowns while volumes are compacted
cargo xtask fuzz [--seconds N] [--keep] [TARGET]
                                   fuzzes all targets, or one, for N seconds each (60) and records the
                                   result. --keep replaces the corpora in fuzz/corpus/ with reduced
                                   ones. Needs nightly Rust and cargo-fuzz
cargo xtask weed                   installs SeaweedFS below the target directory, for tests/cluster.rs
cargo xtask proto                  generates proto/src, the code of the cluster protocol, from proto/proto
cargo xtask smuggling [--streams N] [--seed N]
                                   sends N mutated streams (1000000) through a real nginx, compares the
                                   requests seen by it and by the daemon, and records the result";

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
        ["compaction", ref flags @ ..] => Some(background::compaction(flags)),
        ["health", ref flags @ ..] => Some(background::health(flags)),
        ["index-bench", ref flags @ ..] => Some(index_bench::index_bench(flags)),
        ["growth-bench", ref flags @ ..] => Some(growth_bench::growth_bench(flags)),
        ["start-bench", ref flags @ ..] => Some(start_bench::start_bench(flags)),
        ["mutants", ref flags @ ..] => {
            mutants::Options::parse(flags).map(|it| mutants::mutants(&it))
        }
        ["coverage", ref flags @ ..] => {
            coverage::Options::parse(flags).map(|it| coverage::coverage(&it))
        }
        ["weed"] => Some(weed::install()),
        ["proto"] => Some(proto::proto()),
        ["quick"] => Some(suite::run_quick()),
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
