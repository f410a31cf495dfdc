//! Negative controls: enables each deliberate mistake of `src/base/sabotage.rs` and checks that the tests
//! detect it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::process::{Failed, run};
use crate::project::{cargo, root, target};

/// Mistake, test binary, and a test in it that detects the mistake within seconds.
const KNOWN: &[(&str, &str, &str)] = &[
    ("ack-before-flush", "engine", "failed_write_poisons_volume_but_reads_continue"),
    ("publish-before-flush", "large", "failed_write_of_an_upload_poisons_and_publishes_nothing"),
    ("skip-flush", "states", "power_cut_during_a_state_change_leaves_the_old_or_new_state"),
    ("flush-before-last-write", "crash", "sequential_operations"),
    ("skip-directory-sync", "errors", "any_failed_disk_operation_loses_nothing_acknowledged"),
    ("skip-sync-at-open", "crash", "recovered_state_survives_a_second_power_cut"),
    ("retry-failed-flush", "engine", "failed_tail_hint_poisons_volume"),
    ("ignore-short-write", "engine", "failed_write_poisons_volume_but_reads_continue"),
    ("write-after-failure", "engine", "failed_tail_hint_poisons_volume"),
    ("skip-checksum", "large", "damaged_manifest_is_unreadable_and_can_be_replaced"),
    ("skip-chunk-checksum", "large", "damaged_chunk_fails_only_the_reads_that_overlap_it"),
    (
        "not-found-for-unreadable",
        "regressions",
        "lost_sector_hides_no_needle_and_affects_at_most_one",
    ),
    ("ignore-cookie", "engine", "wrong_cookie_reveals_and_changes_nothing"),
    ("truncate-on-damage", "regressions", "loss_of_a_needle_kept_by_a_seal_is_reported"),
    (
        "ignore-hint",
        "regressions",
        "remains_of_an_older_torn_commit_are_not_taken_for_kept_needles",
    ),
    ("keep-half-a-batch", "crash", "sequential_batches_and_multipart_objects"),
    ("unbound-checksums", "golden", "rebuilt_image_has_the_same_bytes"),
    ("no-locks", "engine", "writes_to_one_id_are_applied_in_arrival_order"),
    ("read-only-too-early", "states", "set_read_only_waits_for_a_slow_commit"),
    ("forget-state", "states", "read_only_volume_refuses_writes_also_after_restart"),
    ("forget-tombstone", "engine", "full_volume_refuses_puts_but_accepts_deletes"),
    ("skip-seal", "crash", "sequential_operations"),
    ("keep-torn", "crash", "sequential_operations"),
    (
        "wrong-durable-tail",
        "regressions",
        "damaged_record_before_a_later_commit_is_damage_not_torn_tail",
    ),
    ("reuse-sequence", "crash", "sequential_operations"),
    ("ignore-chain", "regressions", "commit_that_does_not_chain_is_ignored"),
    ("dirty-padding", "regressions", "padding_of_a_commit_is_zero"),
    ("overwrite-without-cookie", "engine", "wrong_cookie_reveals_and_changes_nothing"),
    ("ack-half-a-batch", "batch", "batch_is_stored_whole_with_one_commit"),
    ("deleted-is-alive", "engine", "full_volume_refuses_puts_but_accepts_deletes"),
    ("range-off-by-one", "large", "range_reads_only_the_chunks_it_overlaps"),
    ("unread-is-empty", "regressions", "read_errors_during_recovery_do_not_empty_the_log"),
    ("forget-waiters", "errors", "any_failed_disk_operation_loses_nothing_acknowledged"),
    ("checkpoint-tail-too-late", "checkpoints", "recovery_matches_the_log_at_any_crash_point"),
    ("skip-checkpoint-checksum", "checkpoints", "damaged_checkpoint_never_overrides_the_log"),
    ("ignore-checkpoint-file", "checkpoints", "checkpoint_of_another_file_is_not_used"),
    ("replay-without-removal", "checkpoints", "recovery_matches_the_log_at_any_crash_point"),
    (
        "checkpoint-before-log",
        "checkpoints",
        "old_checkpoint_is_used_but_one_newer_than_the_log_is_not",
    ),
    ("unmonitored-volume", "volumes", "volume_created_at_run_time_is_monitored"),
    ("interleaved-changes", "volumes", "changes_of_one_volume_are_mutually_exclusive"),
    (
        "delete-while-compacting",
        "lib",
        "node::daemon::compaction::tests::deleting_a_volume_ends_its_compaction_first",
    ),
    (
        "compact-twice-in-a-directory",
        "lib",
        "node::daemon::compaction::tests::one_compaction_at_a_time_uses_a_data_directory",
    ),
    ("ignore-reserve", "lib", "node::daemon::compaction::tests::new_volumes_leave_the_reserve"),
    (
        "checkpoint-after-removal",
        "lib",
        "node::shard::volumes::tests::deleted_volume_leaves_no_checkpoint",
    ),
    ("endless-drain", "shards", "drain_ends_at_its_deadline_despite_a_slow_upload"),
    ("forget-refusals", "shards", "drain_waits_until_refused_clients_have_their_answer"),
    ("ignore-lost-thread", "logging", "panic_of_any_thread_ends_the_daemon_and_names_the_thread"),
    ("no-reply-rate", "shards", "reader_below_the_minimum_rate_is_disconnected"),
    (
        "leak-device-slot",
        "lib",
        "ring::tests::queued_reads_of_a_closed_file_fail_and_free_the_device",
    ),
    (
        "no-room-for-the-seal",
        "near_the_end",
        "deletes_are_accepted_until_only_the_seal_block_is_left",
    ),
    (
        "settle-too-early",
        "states",
        "set_read_only_waits_for_admitted_writes_and_refuses_later_ones",
    ),
    (
        "keep-room-when-refused",
        "large",
        "reservation_is_released_when_parts_are_refused_as_read_only",
    ),
    ("no-hint-while-busy", "engine", "busy_volume_writes_tail_hint_after_interval"),
    (
        "leave-unfinished-checkpoint",
        "checkpoints",
        "failed_checkpoint_write_is_harmless_and_retried",
    ),
    ("ignore-reached", "checkpoints", "damage_before_checkpoint_tail_is_no_torn_tail"),
    ("writable-too-early", "states", "writes_are_refused_until_the_writable_state_is_durable"),
    ("refuse-torn-tail", "simulation", "seeds"),
    ("leak-loan", "simulation", "seeds"),
    ("leak-connection", "simulation", "seeds"),
    ("leak-file", "simulation", "seeds"),
    ("leak-lock", "simulation", "seeds"),
    ("replaced-is-alive", "simulation", "seeds"),
    (
        "admit-without-blocks",
        "reserved_space",
        "failed_step_refuses_puts_accepts_deletes_and_is_tried_again",
    ),
    (
        "whole-too-early",
        "reserved_space_crash",
        "every_step_and_the_cleared_flag_survive_kill_and_power_cut",
    ),
    (
        "skip-step-sync",
        "reserved_space_crash",
        "blocks_that_needles_are_admitted_into_survive_a_power_cut",
    ),
    (
        "give-up-reserving",
        "reserved_space",
        "failed_step_refuses_puts_accepts_deletes_and_is_tried_again",
    ),
    (
        "interleaved-superblocks",
        "reserved_space",
        "state_change_and_end_of_the_steps_do_not_undo_each_other",
    ),
    ("dead-without-time", "oldest_dead", "every_way_to_die_sets_the_time_and_a_start_finds_it"),
    ("abandoned-is-alive", "oldest_dead", "every_way_to_die_sets_the_time_and_a_start_finds_it"),
    ("forget-oldest-dead", "oldest_dead", "every_way_to_die_sets_the_time_and_a_start_finds_it"),
    ("forget-key-max", "oldest_dead", "every_way_to_die_sets_the_time_and_a_start_finds_it"),
    ("forget-unnamed-parts", "oldest_dead", "upload_in_progress_is_abandoned_by_a_kill"),
    (
        "properties-too-late",
        "oldest_dead",
        "parts_that_arrive_while_a_checkpoint_is_written_count_once",
    ),
    ("stay-read-only", "simulation", "seeds"),
    (
        "reseal-repairs-meta",
        "lib",
        "volume::format::needle::reseal::tests::a_flipped_bit_anywhere_is_as_visible_after_resealing",
    ),
    ("not-found-for-lost", "losses", "lost_objects_are_unreadable_and_never_absent"),
    ("forget-losses", "losses", "lost_objects_are_unreadable_and_never_absent"),
    ("unknown-id-is-other", "losses", "every_id_that_may_be_the_lost_one_is_unreadable"),
    ("forget-earlier-damage", "losses", "lost_objects_are_unreadable_and_never_absent"),
    (
        "checkpoint-without-losses",
        "losses",
        "checkpoint_while_losses_are_recorded_and_repaired_agrees_with_the_log",
    ),
    ("ignore-parent", "generations", "files_that_were_not_left_by_a_crash_are_all_kept"),
    (
        "remove-before-open",
        "generations",
        "older_generation_stays_while_the_newer_one_cannot_be_opened",
    ),
    ("serve-building", "generations", "unfinished_generation_is_removed_also_when_it_is_alone"),
    (
        "trust-one-unfinished-copy",
        "generations",
        "every_combination_of_superblock_copies_is_decided_without_loss",
    ),
    (
        "ignore-missing-directory",
        "generations",
        "missing_data_directory_decides_nothing_that_it_could_contradict",
    ),
    ("ignore-divergence", "generations", "generation_that_was_served_meanwhile_is_not_superseded"),
    (
        "remove-highest-first",
        "generations",
        "interrupted_deletion_leaves_the_newest_state_or_nothing",
    ),
    (
        "fence-by-id",
        "lib",
        "node::shard::shard_files::tests::loss_of_a_file_that_is_not_in_use_does_not_fence_the_volume",
    ),
];

/// Test binaries, fast ones first; the last two start daemons. `lib` are the unit tests.
const TESTS: [&str; 23] = [
    "errors",
    "engine",
    "generations",
    "near_the_end",
    "reserved_space",
    "reserved_space_crash",
    "states",
    "no_buffer",
    "regressions",
    "golden",
    "golden_large",
    "batch",
    "large",
    "read_only",
    "losses",
    "checkpoints",
    "oldest_dead",
    "simulation",
    "crash",
    "shards",
    LIB,
    "volumes",
    "logging",
];
/// The unit tests of the library.
const LIB: &str = "lib";
/// Timeout of a test binary with a mistake enabled, which may hang it (seconds).
const LONGEST: u32 = 300;
/// Maximum number of test names printed per mistake.
const SHOWN: usize = 3;
/// Environment variable that enables a mistake. Release builds do not contain it.
const VARIABLE: &str = "HAYLOFT_SABOTAGE";

/// Detection of a mistake.
struct Detection {
    binary: String,
    tests: Vec<String>,
    after: Duration,
}

/// Runs the negative controls and prints which test detected which mistake. Runs the known test of each
/// mistake, or with `all` every test that might detect it.
///
/// # Errors
/// When a mistake was not detected, the tests cannot be built, or, with `all`, the product contains the
/// mistakes.
pub fn run_all(all: bool) -> Result<(), Failed> {
    let binaries = build()?;
    let (caught, of) = catch_all(all, &binaries)?;
    if caught < of {
        return Err(Failed(format!("{} mistakes were not detected", of - caught)));
    }
    if all { check_product(&binaries) } else { Ok(()) }
}

/// Number of mistakes detected by their known tests, and number of all mistakes.
///
/// # Errors
/// When the tests cannot be built or run.
pub fn caught() -> Result<(usize, usize), Failed> {
    catch_all(false, &build()?)
}

/// Runs the negative controls and prints the results; returns the number of detected and of all mistakes.
fn catch_all(all: bool, binaries: &[(String, PathBuf)]) -> Result<(usize, usize), Failed> {
    let source = std::fs::read_to_string(root().join("src/base/sabotage.rs"))
        .map_err(|error| Failed(format!("cannot read src/base/sabotage.rs: {error}")))?;
    let names = names(&source);
    check_known(binaries)?;
    println!("| sabotage | caught by | after |\n| --- | --- | --- |");
    let mut caught = 0;
    for name in &names {
        let found = if all { catch(name, binaries)? } else { catch_known(name, binaries)? };
        let Some(Detection { binary, tests, after }) = found else {
            println!("| {name} | NOT DETECTED | |");
            continue;
        };
        caught += 1;
        let more = tests.len().saturating_sub(SHOWN);
        let shown: Vec<String> =
            tests.iter().take(SHOWN).map(|test| format!("`{binary}::{test}`")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        println!("| {name} | {}{more} | {:.1} s |", shown.join(", "), after.as_secs_f64());
    }
    println!("\n{caught} of {} sabotages caught", names.len());
    Ok((caught, names.len()))
}

/// Names of the mistakes in the source: the strings after `Variant = `.
fn names(source: &str) -> Vec<String> {
    let list = source.split_once("sabotages! {\n    ///").map_or("", |(_, list)| list);
    let list = list.split_once("\n}").map_or("", |(list, _)| list);
    let name = |line: &str| {
        let (_, quoted) = line.split_once(" = \"")?;
        Some(quoted.strip_suffix("\",")?.to_owned())
    };
    list.lines().filter_map(name).collect()
}

/// Builds the test binaries; returns their names and paths.
fn build() -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut build = cargo(&["test", "--workspace", "--locked", "--no-run"]);
    for test in TESTS {
        match test {
            LIB => build.arg("--lib"),
            test => build.args(["--test", test]),
        };
    }
    run(&mut build)?;
    // A second run prints the paths without building.
    let output =
        build.output().map_err(|error| Failed(format!("cargo cannot be started: {error}")))?;
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let binaries: Vec<_> = output.lines().filter_map(executable).collect();
    match TESTS.iter().find(|test| !binaries.iter().any(|(name, _)| name == *test)) {
        None => Ok(binaries),
        Some(test) => {
            Err(Failed(format!("cargo does not say where the test {test} is:\n{output}")))
        }
    }
}

/// Name and path out of `  Executable tests/name.rs (path)`, or of the line of the library's unit tests.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let (source, path) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
    let path = root().join(path.strip_suffix(')')?);
    if source == "unittests src/lib.rs" {
        // Other members of the workspace are libraries too.
        let file = path.file_name()?.to_str()?;
        return file.starts_with("hayloft-").then(|| (LIB.to_owned(), path));
    }
    let name = source.strip_prefix("tests/")?.strip_suffix(".rs")?;
    Some((name.to_owned(), path))
}

fn run_test(path: &Path, args: &[&str], sabotage: Option<&str>) -> Result<Output, Failed> {
    let mut command = Command::new("timeout");
    command.arg(LONGEST.to_string()).arg(path).args(args).current_dir(root());
    command.env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    if let Some(sabotage) = sabotage {
        command.env(VARIABLE, sabotage);
    }
    command.output().map_err(|error| Failed(format!("the tests cannot be started: {error}")))
}

/// Checks that the tests pass without a mistake; otherwise they would prove nothing.
fn check_known(binaries: &[(String, PathBuf)]) -> Result<(), Failed> {
    let known: BTreeSet<_> = KNOWN.iter().map(|(_, binary, test)| (*binary, *test)).collect();
    for (binary, test) in known {
        let path =
            &binaries.iter().find(|(name, _)| name == binary).expect("build() returns all").1;
        if !run_test(path, &["--exact", test], None)?.status.success() {
            return Err(Failed(format!("{binary}::{test} fails without any mistake enabled")));
        }
    }
    Ok(())
}

/// Runs the known test of a mistake.
fn catch_known(name: &str, binaries: &[(String, PathBuf)]) -> Result<Option<Detection>, Failed> {
    let began = Instant::now();
    let known = KNOWN.iter().find(|(known, ..)| *known == name);
    let Some((_, binary, test)) = known else {
        return Err(Failed(format!("no test is listed for {name}; find one with `--all`")));
    };
    let path = &binaries.iter().find(|(name, _)| name == binary).expect("build() returns all").1;
    let output = run_test(path, &["--exact", test], Some(name))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains("\nrunning 1 test\n") {
        return Err(Failed(format!("there is no test {binary}::{test}")));
    }
    let caught = Detection {
        binary: (*binary).to_owned(),
        tests: vec![(*test).to_owned()],
        after: began.elapsed(),
    };
    Ok((!output.status.success()).then_some(caught))
}

/// Runs the test binaries until one fails; returns it with its failed tests.
fn catch(name: &str, binaries: &[(String, PathBuf)]) -> Result<Option<Detection>, Failed> {
    let began = Instant::now();
    for test in TESTS {
        let (binary, path) =
            binaries.iter().find(|(name, _)| name == test).expect("build() returns all");
        let output = run_test(path, &[], Some(name))?;
        if output.status.success() {
            continue;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tests = failures(&text);
        if tests.is_empty() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed(format!(
                "{binary} with {name} failed without naming a test: {output}"
            )));
        }
        return Ok(Some(Detection { binary: binary.clone(), tests, after: began.elapsed() }));
    }
    Ok(None)
}

/// Names under the last "failures:" in the output of a test binary.
fn failures(text: &str) -> Vec<String> {
    let Some((_, list)) = text.rsplit_once("\nfailures:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| line.starts_with("    "));
    names.map(|line| line.trim().to_owned()).collect()
}

/// Checks that the release build does not contain the variable, while the tests do.
fn check_product(binaries: &[(String, PathBuf)]) -> Result<(), Failed> {
    run(&mut cargo(&["build", "--release", "--locked", "--bin", "hayloft"]))?;
    let knows = |path: &Path| {
        let bytes = std::fs::read(path)
            .map_err(|error| Failed(format!("cannot read {}: {error}", path.display())))?;
        Ok(bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE.as_bytes()))
    };
    let product = target().join("release/hayloft");
    if knows(&product)? {
        return Err(Failed(format!("{} contains {VARIABLE}", product.display())));
    }
    if !knows(&binaries[0].1)? {
        return Err(Failed(format!(
            "the tests do not contain {VARIABLE}, so its absence proves nothing"
        )));
    }
    println!("the release build does not contain {VARIABLE}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_in_the_source_has_a_known_test() {
        let source = std::fs::read_to_string(root().join("src/base/sabotage.rs")).unwrap();
        let names = names(&source);
        assert_eq!(names.first().map(String::as_str), Some("ack-before-flush"));
        assert_eq!(names.len(), source.matches("\",\n").count(), "{names:?}");
        let known: Vec<&str> = KNOWN.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, known, "KNOWN lists every mistake in the order of the source");
        assert!(KNOWN.iter().all(|(_, binary, _)| TESTS.contains(binary)));
    }

    #[test]
    fn the_last_list_of_failures_is_used() {
        let text = "\nfailures:\n\n---- a stdout ----\nx\n\nfailures:\n    a\n    b\n\ntest result";
        assert_eq!(failures(text), ["a", "b"]);
        assert!(failures("all well").is_empty());
    }

    #[test]
    fn executables_are_parsed_from_the_output_of_cargo() {
        let (name, path) = executable("  Executable tests/engine.rs (target/debug/x-1)").unwrap();
        assert_eq!((name.as_str(), path), ("engine", root().join("target/debug/x-1")));
        assert!(executable("  Executable unittests src/lib.rs (target/debug/y)").is_none());
        let lib =
            |file: &str| executable(&format!("  Executable unittests src/lib.rs (deps/{file})"));
        assert_eq!(lib("hayloft-1").map(|(name, _)| name).as_deref(), Some(LIB));
        assert_eq!(lib("hayloft_fuzz-1"), None);
    }
}
