//! What the policy compacts.

use super::{ONE, TWO, complete, fill};
use crate::base::size::MIB;
use crate::node::board::{CompactionOutcome, VolumeState};
use crate::node::config::{CompactionPolicy, Config, OrWord, TimeSpan};
use crate::node::control::CompactionOrigin;
use crate::node::daemon::bench::{START, end, with_manager, with_stores};
use crate::node::shard::OrderError;

#[test]
fn policy_compacts_volumes_with_much_garbage_the_coldest_first() {
    with_manager(&[1, 2, 3], async |bench| {
        fill(&bench.board(1), 10 * MIB, 30 * MIB);
        fill(&bench.board(2), 10 * MIB, 20 * MIB);
        fill(&bench.board(3), 30 * MIB, 5 * MIB);
        bench.look().await;
        bench.advance(59);
        bench.look().await;
        assert_eq!(bench.texts(), [""; 0], "the first minute is for the start");
        // Volume 1 is written meanwhile.
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 1"], "as cold as the other, with more garbage");
        let job = bench.state.compaction.shown.job(ONE).unwrap();
        assert_eq!((job.origin, job.is_begun), (CompactionOrigin::Policy, true));
        bench.look_for(3).await;
        assert_eq!(bench.texts(), [""; 0], "one at a time");
        complete(&bench, 1, 1);
        bench.look().await;
        // Volume 1 has as much garbage again, but is warm.
        fill(&bench.board(1), 10 * MIB, 41 * MIB);
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 2"]);
        complete(&bench, 2, 1);
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 1"]);
        complete(&bench, 1, 2);
        bench.look_for(3).await;
        assert_eq!(bench.texts(), [""; 0], "nothing to gain");
    });
}

#[test]
fn expired_photos_count_as_garbage_while_the_clock_is_plausible() {
    with_manager(&[1], async |bench| {
        let board = bench.board(1);
        fill(&board, 50 * MIB, MIB);
        board.newest_found_ns.set(START.wall_ns);
        bench.look_for(2).await;
        assert_eq!(bench.texts(), [""; 0]);
        let before = board.drop_expired_before_ns.get();
        assert!(before > 0 && before < START.wall_ns, "{before}");
        // As its shard counts them.
        board.droppable_bytes.set(30 * MIB);
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 1"]);
        assert!(bench.compactions.take()[0].drop_expired_before_ns > before);
    });
}

#[test]
fn garbage_that_a_compaction_keeps_does_not_begin_another_one_at_once() {
    with_manager(&[1], async |bench| {
        fill(&bench.board(1), 10 * MIB, 40 * MIB);
        bench.look_for(2).await;
        assert_eq!(bench.texts(), ["compact 1"]);
        let board = bench.board(1);
        // Nothing but tombstones, which are kept for 30 days.
        board.compaction.end(end(CompactionOutcome::Done));
        bench.look_for(5).await;
        assert_eq!((bench.texts().len(), board.reclaimable_bytes()), (0, 0));
        bench.advance(30 * 86_400);
        bench.look().await;
        assert_eq!(bench.texts(), ["compact 1"], "they are no longer kept");
    });
}

#[test]
fn volume_that_failed_or_was_cancelled_is_left_alone_for_a_while() {
    with_manager(&[1, 2], async |bench| {
        fill(&bench.board(1), 10 * MIB, 40 * MIB);
        fill(&bench.board(2), 10 * MIB, 30 * MIB);
        bench.look_for(2).await;
        assert_eq!(bench.texts(), ["compact 1"]);
        bench.board(1).compaction.end(end(CompactionOutcome::Failed));
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 2"], "the next one takes its turn");
        assert_eq!(bench.state.cancel_compaction(TWO).await, Ok(()));
        assert_eq!(bench.texts(), ["cancel 2"]);
        bench.look_for(8).await;
        assert_eq!(bench.texts(), [""; 0]);
        bench.look_for(3).await;
        assert_eq!(bench.texts(), ["compact 1"], "after ten minutes");
        bench.board(1).compaction.end(end(CompactionOutcome::Failed));
        bench.look_for(17).await;
        assert_eq!(bench.texts(), [""; 0], "the pause has doubled");
        bench.answer_with(Err(OrderError::NotCompacted("a reason".to_owned())));
        bench.look_for(5).await;
        assert_eq!(bench.texts(), ["compact 1"]);
        bench.look_for(35).await;
        assert_eq!(bench.texts(), [""; 0], "a refusal counts as a failure");
        // No room: it is not even ordered.
        fill(&bench.board(1), 1 << 50, 1 << 51);
        bench.answer_with(Ok(()));
        bench.look_for(60).await;
        assert_eq!(bench.texts(), [""; 0]);
        bench.board(1).state.set(VolumeState::Failed);
        bench.look_for(23 * 60).await;
        assert_eq!(bench.texts(), ["compact 2"], "a day after it was cancelled");
    });
}

#[test]
fn policy_obeys_its_switch_and_its_hours() {
    let off = |config: &mut Config| config.compaction.policy = CompactionPolicy::Off;
    with_stores(1, &[(1, 0)], off, async |bench| {
        fill(&bench.board(1), 10 * MIB, 40 * MIB);
        bench.look_for(10).await;
        assert_eq!(bench.texts(), [""; 0]);
        assert_eq!(bench.compact(1).await, Ok(()), "on request");
    });
    // The tests begin at 22:13:20 UTC.
    assert_eq!(START.wall_ns / 1_000_000_000 % 86_400, 80_000);
    let hours =
        |config: &mut Config| config.compaction.hours = OrWord::of("22:30-06:00".parse().unwrap());
    with_stores(1, &[(1, 0)], hours, async |bench| {
        fill(&bench.board(1), 10 * MIB, 40 * MIB);
        bench.look_for(16).await;
        assert_eq!(bench.texts(), [""; 0]);
        bench.look_for(1).await;
        assert_eq!(bench.texts(), ["compact 1"]);
    });
}

#[test]
fn overdue_bytes_are_reported_and_erased() {
    let change = |config: &mut Config| {
        config.compaction.erase_within = OrWord::of(TimeSpan::hours(4));
    };
    with_stores(1, &[(1, 0)], change, async |bench| {
        let board = bench.board(1);
        fill(&board, 40 * MIB, MIB);
        board.oldest_dead_ns.set(START.wall_ns);
        bench.look_for(179).await;
        assert_eq!((bench.texts().len(), board.erase_overdue.get()), (0, 0));
        bench.look_for(2).await;
        assert_eq!(bench.texts(), ["compact 1"], "after three quarters of the time");
        bench.look_for(60).await;
        assert_eq!(board.erase_overdue.get(), 1, "it takes too long");
        board.oldest_dead_ns.set(0);
        complete(&bench, 1, 1);
        bench.look_for(1).await;
        assert_eq!(board.erase_overdue.get(), 0);
    });
}
