//! Cancellations, pauses, and other changes of a volume that is compacted.

use super::{ONE, TWO, conflict, fill};
use crate::base::size::MIB;
use crate::base::types::VolumeId;
use crate::node::board::CompactionOutcome;
use crate::node::control::Refused;
use crate::node::daemon::bench::{end, with_manager};

#[test]
fn waiting_and_running_compactions_can_be_cancelled() {
    with_manager(&[1, 2], async |bench| {
        (1..=2).for_each(|id| fill(&bench.board(id), MIB, MIB));
        conflict(bench.state.cancel_compaction(ONE).await, "is not being compacted");
        let unknown = bench.state.cancel_compaction(VolumeId(7)).await;
        assert_eq!(unknown, Err(Refused::NoSuchVolume(VolumeId(7))));
        assert_eq!(bench.compact(1).await, Ok(()));
        assert_eq!(bench.compact(2).await, Ok(()));
        assert_eq!(bench.state.cancel_compaction(TWO).await, Ok(()));
        let shown = &bench.state.compaction.shown;
        let (count, last) = shown.not_begun(TWO);
        assert_eq!((count, last.map(|it| it.outcome)), (1, Some(CompactionOutcome::Cancelled)));
        assert_eq!(shown.job(TWO), None);
        assert_eq!(bench.state.cancel_compaction(ONE).await, Ok(()));
        assert_eq!(bench.texts(), ["compact 1", "cancel 1"]);
        assert_eq!((shown.job(ONE), bench.board(1).compaction.ended()), (None, 1));
        assert_eq!(bench.compact(1).await, Ok(()));
        // It ends by itself while it is being cancelled.
        bench.board(1).compaction.end(end(CompactionOutcome::Done));
        conflict(bench.state.cancel_compaction(ONE).await, "is not being compacted");
    });
}

#[test]
fn deleting_a_volume_ends_its_compaction_first() {
    with_manager(&[1, 2], async |bench| {
        (1..=2).for_each(|id| fill(&bench.board(id), MIB, MIB));
        assert_eq!(bench.compact(1).await, Ok(()));
        assert_eq!(bench.compact(2).await, Ok(()));
        assert_eq!(bench.state.delete(TWO).await, Ok(()));
        assert_eq!(bench.texts()[..2], ["compact 1", "delete 2"], "it only waited");
        assert_eq!(bench.state.delete(ONE).await, Ok(()));
        assert_eq!(bench.texts()[..2], ["cancel 1", "delete 1"]);
        for id in [ONE, TWO] {
            assert_eq!(bench.state.compaction.shown.not_begun(id), (0, None), "forgotten");
        }
        bench.look().await;
        assert!(bench.state.compaction.queue.borrow().all_running().is_empty());
    });
}

#[test]
fn read_only_is_possible_during_a_compaction() {
    with_manager(&[1], async |bench| {
        fill(&bench.board(1), MIB, MIB);
        assert_eq!(bench.compact(1).await, Ok(()));
        assert_eq!(bench.state.set_read_only(ONE, true).await, Ok(()));
        assert_eq!(bench.texts(), ["compact 1", "read-only 1 true"]);
    });
}

#[test]
fn nothing_begins_while_background_work_is_paused() {
    with_manager(&[1], async |bench| {
        fill(&bench.board(1), MIB, 40 * MIB);
        bench.state.set_paused(true).await;
        assert_eq!(bench.orders(), [0, 1].map(|shard| (shard, "pause true".to_owned())));
        assert_eq!(bench.compact(1).await, Ok(()));
        let job = bench.state.compaction.shown.job(ONE).unwrap();
        assert_eq!((job.is_begun, job.waits_for), (false, None));
        conflict(bench.compact(1).await, "background work is paused");
        bench.look_for(5).await;
        assert_eq!(bench.texts(), [""; 0], "neither a request nor the policy");
        bench.state.set_paused(false).await;
        bench.look().await;
        assert_eq!(bench.texts(), ["pause false", "pause false", "compact 1"]);
    });
}
