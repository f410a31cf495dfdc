//! Requests of an operator, and the order in which they run.

use super::{ONE, TWO, complete, conflict, fill};
use crate::base::size::{ByteSize, MIB};
use crate::base::types::VolumeId;
use crate::node::board::{CompactionOutcome, VolumeState};
use crate::node::config::{Config, TimeSpan};
use crate::node::control::{CompactionOrigin, Refused, WantedCompaction};
use crate::node::daemon::bench::{end, with_changed, with_manager, with_stores};
use crate::node::daemon::volume_files::FoundFile;
use crate::node::shard::{CompactionRequest, OrderError, TargetDir};

#[test]
fn compaction_is_ordered_with_the_settings_and_its_end_taken_over() {
    let keep = |config: &mut Config| config.compaction.tombstone_keep = TimeSpan::hours(2);
    with_stores(1, &[(1, 0), (2, 0)], keep, async |bench| {
        fill(&bench.board(2), 10 * MIB, 20 * MIB);
        assert_eq!(bench.compact(2).await, Ok(()));
        assert_eq!(bench.orders(), [(1, "compact 2".to_owned())]);
        let taken = bench.compactions.take();
        let request = CompactionRequest {
            tombstone_keep_ns: 7200 * 1_000_000_000,
            drop_expired_before_ns: crate::node::daemon::bench::START.wall_ns
                - 24 * 3600 * 1_000_000_000,
            index_memory_max: taken[0].index_memory_max,
            ..CompactionRequest::default()
        };
        assert_eq!(taken, [request]);
        let job = bench.state.compaction.shown.job(TWO).unwrap();
        assert_eq!((job.origin, job.is_begun), (CompactionOrigin::Operator, true));
        assert_eq!((job.waits_for, job.disk), (None, 0));
        assert_eq!((job.size, job.expected_gain), (64 * MIB, 20 * MIB));
        conflict(bench.compact(2).await, "being compacted already");
        bench.look().await;
        assert!(bench.state.compaction.shown.job(TWO).is_some(), "it has not ended");

        complete(&bench, 2, 1);
        bench.look().await;
        assert_eq!(bench.state.compaction.shown.job(TWO), None);
        let placed = bench.state.placement.borrow().get(TWO).cloned().unwrap();
        assert_eq!(placed.files, [FoundFile { store: 0, generation: 1 }]);
        let board = bench.board(2);
        assert_eq!((board.kept_bytes.get(), board.reclaimable_bytes()), (MIB, 0));
        assert_eq!(bench.compact(2).await, Ok(()), "again, on request");
        assert_eq!(bench.texts(), ["compact 2"]);
    });
}

#[test]
fn tombstones_that_a_copy_may_lack_are_kept() {
    let keep = |config: &mut Config| config.compaction.tombstone_keep = TimeSpan::hours(2);
    with_stores(1, &[(2, 0)], keep, async |bench| {
        let now = crate::node::daemon::bench::START.wall_ns;
        let hour = 3600 * 1_000_000_000;
        let board = bench.board(2);
        fill(&board, 10 * MIB, 20 * MIB);
        board.cluster.is_of_cluster.set(1);
        board.cluster.placement.set(1);
        for (mark, kept) in [(0, now), (now - 3 * hour, 3 * hour), (now, 2 * hour)] {
            board.cluster.lowest_mark.set(mark);
            assert_eq!(bench.compact(2).await, Ok(()));
            assert_eq!(bench.compactions.take()[0].tombstone_keep_ns, kept);
            complete(&bench, 2, 1);
            bench.look().await;
        }
    });
}

#[test]
fn one_compaction_at_a_time_uses_a_data_directory() {
    with_stores(
        2,
        &[(1, 0), (2, 0), (3, 1)],
        |_| (),
        async |bench| {
            for id in 1..=3 {
                fill(&bench.board(id), MIB, MIB);
                assert_eq!(bench.compact(id).await, Ok(()));
            }
            assert_eq!(bench.texts(), ["compact 1", "compact 3"]);
            let waiting = bench.state.compaction.shown.job(TWO).unwrap();
            assert_eq!((waiting.is_begun, waiting.waits_for), (false, Some(ONE)));
            conflict(bench.compact(2).await, "that of volume 1");
            bench.look().await;
            assert_eq!(bench.texts(), [""; 0]);
            bench.board(1).compaction.end(end(CompactionOutcome::Failed));
            bench.look().await;
            assert_eq!(bench.texts(), ["compact 2"]);
            assert!(bench.state.compaction.shown.job(TWO).unwrap().is_begun);
        },
    );
}

#[test]
fn compaction_that_cannot_be_is_refused_with_its_reason() {
    with_stores(
        2,
        &[(1, 0)],
        |_| (),
        async |bench| {
            let board = bench.board(1);
            fill(&board, 10 * MIB, 20 * MIB);
            assert_eq!(bench.compact(7).await, Err(Refused::NoSuchVolume(VolumeId(7))));
            let with = async |size: Option<u64>, disk: Option<u32>| {
                let size = size.map(|size| ByteSize(size * MIB));
                let wanted = WantedCompaction { accept_losses: false, size, disk };
                bench.state.compact(ONE, wanted).await
            };
            assert!(matches!(with(Some(15), None).await, Err(Refused::Invalid(_))));
            assert!(matches!(with(None, Some(2)).await, Err(Refused::Invalid(_))));
            fill(&board, 30 * MIB, 20 * MIB);
            conflict(with(Some(32), None).await, "30.0 MiB of it live");
            // More than any disk of a test machine has.
            fill(&board, 1 << 50, 0);
            match bench.compact(1).await {
                Err(Refused::NoSpace(sentence)) => {
                    assert!(sentence.contains("needs 1075.2 TiB"), "{sentence}");
                    assert!(sentence.contains("are free"), "{sentence}");
                }
                other => panic!("{other:?}"),
            }
            fill(&board, MIB, MIB);
            for state in [
                VolumeState::Recovering,
                VolumeState::Poisoned,
                VolumeState::Lost,
                VolumeState::Failed,
            ] {
                board.state.set(state);
                conflict(bench.compact(1).await, "was not compacted: ");
            }
            board.state.set(VolumeState::ReadOnly);
            {
                let _changing = bench.state.begin(ONE).ok().unwrap();
                conflict(bench.compact(1).await, "being changed");
            }
            bench.answer_with(Err(OrderError::NotCompacted("a reason".to_owned())));
            conflict(bench.compact(1).await, "Volume 1 was not compacted: a reason.");
            assert_eq!(bench.state.compaction.shown.job(ONE), None);
            assert_eq!(bench.texts(), ["compact 1"]);
            bench.answer_with(Ok(()));
            assert_eq!(bench.compact(1).await, Ok(()), "nothing of the refused ones is left");
        },
    );
}

#[test]
fn volume_moves_to_another_disk() {
    with_stores(
        2,
        &[(1, 0), (2, 0), (3, 1)],
        |_| (),
        async |bench| {
            (1..=3).for_each(|id| fill(&bench.board(id), MIB, MIB));
            let size = Some(ByteSize(32 * MIB));
            let wanted = WantedCompaction { accept_losses: true, size, disk: Some(1) };
            assert_eq!(bench.state.compact(ONE, wanted).await, Ok(()));
            let store = &bench.state.stores[1];
            let id = store.dir.as_ref().unwrap().store_id().0.to_be_bytes();
            let requests = bench.compactions.take();
            let target = TargetDir { path: store.path.clone(), disk: 1, store: id };
            assert_eq!((&requests[0].target, requests[0].size), (&Some(target), Some(32 * MIB)));
            assert!(requests[0].accept_losses);
            // Both directories are in use by it.
            for id in [2, 3] {
                assert_eq!(bench.compact(id).await, Ok(()));
                let job = bench.state.compaction.shown.job(VolumeId(id)).unwrap();
                assert_eq!((job.is_begun, job.waits_for), (false, Some(ONE)));
            }
            assert_eq!(bench.texts(), ["compact 1"]);
            bench.board(1).disk.set(1);
            complete(&bench, 1, 1);
            bench.look().await;
            let placed = bench.state.placement.borrow().get(ONE).cloned().unwrap();
            assert_eq!(placed.files, [FoundFile { store: 1, generation: 1 }]);
            let texts = bench.texts();
            assert_eq!(texts[0], "route 1 Some(0)", "with the limits of the devices");
            assert_eq!(texts[4..], ["compact 2", "compact 3"]);
        },
    );
}

#[test]
fn volume_is_not_moved_while_a_data_directory_is_missing() {
    with_changed(
        3,
        &[(1, 0), (2, 0)],
        |state| state.stores[2].dir = None,
        async |bench| {
            (1..=2).for_each(|id| fill(&bench.board(id), MIB, MIB));
            let moved = |disk| WantedCompaction { disk: Some(disk), ..Default::default() };
            let missing = bench.state.stores[2].path.display().to_string();
            let refused = bench.state.compact(ONE, moved(1)).await;
            conflict(refused.clone(), "Volume 1 was not moved: data directory");
            conflict(refused, &missing);
            assert_eq!(bench.texts(), [""; 0]);
            assert_eq!(bench.state.compaction.shown.job(ONE), None);
            // A move to where it is already is a compaction.
            assert_eq!(bench.state.compact(ONE, moved(0)).await, Ok(()));
            assert_eq!(bench.compact(2).await, Ok(()));
            assert_eq!(bench.texts(), ["compact 1"]);
        },
    );
}

#[test]
fn refusal_after_a_wait_is_the_end_that_is_shown() {
    with_manager(&[1, 2], async |bench| {
        (1..=2).for_each(|id| fill(&bench.board(id), MIB, MIB));
        assert_eq!(bench.compact(1).await, Ok(()));
        assert_eq!(bench.compact(2).await, Ok(()));
        bench.answer_with(Err(OrderError::NotCompacted("a reason".to_owned())));
        bench.board(1).compaction.end(end(CompactionOutcome::Done));
        bench.look().await;
        let (count, last) = bench.state.compaction.shown.not_begun(TWO);
        let last = last.unwrap();
        assert_eq!((count, last.outcome, last.after), (1, CompactionOutcome::Failed, 0));
        assert_eq!(last.reason, "Volume 2 was not compacted: a reason.");
        assert_eq!(bench.state.compaction.shown.job(TWO), None);
    });
}

#[test]
fn requests_beyond_the_bound_are_refused() {
    with_manager(&[1], async |bench| {
        let requests = &bench.state.compaction.requests;
        requests.set(crate::base::limits::CHANGES_MAX);
        assert_eq!(bench.compact(1).await, Err(Refused::Busy));
        assert_eq!(bench.state.cancel_compaction(ONE).await, Err(Refused::Busy));
        requests.set(0);
        assert_eq!(bench.compact(1).await, Ok(()));
        assert_eq!(requests.get(), 0, "permits are given back");
    });
}
