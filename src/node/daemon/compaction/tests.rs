//! Tests of requests, the queue and the policy in a manager whose shards only record their orders.

use std::rc::Rc;

use crate::base::size::{ByteSize, MIB};
use crate::base::types::VolumeId;
use crate::node::board::{CompactionOutcome, VolumeBoard, VolumeState};
use crate::node::config::{CompactionPolicy, Config, OrWord, TimeSpan};
use crate::node::control::{CompactionOrigin, NewVolume, Refused, WantedCompaction};
use crate::node::daemon::bench::{Bench, START, end, with_changed, with_manager, with_stores};
use crate::node::daemon::volume_files::FoundFile;
use crate::node::shard::{CompactionRequest, OrderError, TargetDir};
use crate::runtime::sim::Fault;

const ONE: VolumeId = VolumeId(1);
const TWO: VolumeId = VolumeId(2);

/// Sets the figures of a volume of 64 MiB with these live and dead bytes.
fn fill(board: &VolumeBoard, live: u64, dead: u64) {
    board.size_bytes.set(64 * MIB);
    board.used_bytes.set(live + dead);
    board.live_bytes.set(live);
    board.dead_bytes.set(dead);
}

/// The new file of a volume takes the place of the old one.
fn complete(bench: &Bench, id: u32, generation: u64) {
    let board = bench.board(id);
    fill(&board, board.live_bytes.get(), MIB);
    board.generation.set(generation);
    board.compaction.end(end(CompactionOutcome::Done));
}

impl Bench {
    async fn compact(&self, id: u32) -> Result<(), Refused> {
        self.state.compact(VolumeId(id), WantedCompaction::default()).await
    }

    async fn look(&self) {
        Rc::clone(&self.state).look().await;
    }

    /// Looks once a minute, for `minutes`.
    async fn look_for(&self, minutes: u64) {
        for _ in 0..minutes {
            self.advance(60);
            self.look().await;
        }
    }

    /// Waits until the tasks that were started have ended.
    async fn settle(&self) {
        let handle = &self.state.handle;
        handle.sleep_until(handle.now() + 1_000_000_000).await;
    }

    /// Orders without their shards.
    fn texts(&self) -> Vec<String> {
        self.orders().into_iter().map(|(_, text)| text).collect()
    }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Refused>, part: &str) {
    match result {
        Err(Refused::Conflict(sentence)) => assert!(sentence.contains(part), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn compaction_is_ordered_with_the_settings_and_its_end_taken_over() {
    let keep = |config: &mut Config| config.compaction.tombstone_keep = TimeSpan::hours(2);
    with_stores(1, &[(1, 0), (2, 0)], keep, async |bench| {
        fill(&bench.board(2), 10 * MIB, 20 * MIB);
        assert_eq!(bench.compact(2).await, Ok(()));
        assert_eq!(bench.orders(), [(1, "compact 2".to_owned())]);
        let taken = bench.compactions.take();
        let request = CompactionRequest {
            target: None,
            size: None,
            accept_losses: false,
            tombstone_keep_ns: 7200 * 1_000_000_000,
            verify: true,
            index_memory_max: taken[0].index_memory_max,
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

fn auto_create(config: &mut Config) {
    config.auto_create.when_room_below = OrWord::of(ByteSize::mib(20));
    config.auto_create.size = OrWord::of(ByteSize::mib(32));
}

#[test]
fn next_volume_is_created_when_little_room_is_left() {
    with_stores(1, &[(1, 0)], auto_create, async |bench| {
        let board = bench.board(1);
        fill(&board, 43 * MIB, MIB);
        bench.look_for(3).await;
        bench.settle().await;
        assert_eq!(bench.texts(), [""; 0], "20 MiB are left");
        fill(&board, 44 * MIB, MIB);
        board.state.set(VolumeState::Recovering);
        bench.look_for(3).await;
        bench.settle().await;
        assert_eq!(bench.texts(), [""; 0], "it may take photos soon");
        board.state.set(VolumeState::Writable);
        bench.look_for(1).await;
        bench.look_for(1).await;
        bench.settle().await;
        let texts = bench.texts();
        assert_eq!(texts.iter().filter(|text| text.starts_with("open")).count(), 1, "{texts:?}");
        assert_eq!(bench.world.names(), ["2.0.vol"]);
        let created = bench.board(2);
        created.state.set(VolumeState::Writable);
        created.size_bytes.set(32 * MIB);
        created.used_bytes.set(MIB);
        bench.look_for(5).await;
        bench.settle().await;
        assert_eq!(bench.texts(), [""; 0], "there is room now");
        // Room of a full volume does not count.
        created.full.set(1);
        bench.look_for(1).await;
        bench.settle().await;
        assert_eq!(bench.world.names(), ["2.0.vol", "3.0.vol"]);
    });
    with_manager(&[1], async |bench| {
        fill(&bench.board(1), 64 * MIB, 0);
        bench.look_for(5).await;
        bench.settle().await;
        assert_eq!(bench.world.names(), [""; 0], "it is off by default");
    });
}

#[test]
fn creation_ahead_of_need_that_fails_is_tried_again_later() {
    with_stores(1, &[(1, 0)], auto_create, async |bench| {
        fill(&bench.board(1), 60 * MIB, MIB);
        bench.world.fail(2, Fault::Errno(28));
        bench.look_for(2).await;
        bench.settle().await;
        let failed = bench.state.creations.get(TWO).and_then(|creation| creation.failed);
        assert!(matches!(failed, Some(Refused::NoSpace(_))), "{failed:?}");
        assert_eq!(bench.world.names(), [""; 0]);
        bench.look().await;
        bench.settle().await;
        assert_eq!(bench.world.names(), [""; 0], "not at once");
        bench.look_for(1).await;
        bench.settle().await;
        assert_eq!(bench.world.names(), ["2.0.vol"]);
    });
}

#[test]
fn new_volumes_leave_the_reserve() {
    let reserve = |config: &mut Config| {
        config.compaction.reserve = OrWord::of(ByteSize(1 << 60));
        auto_create(config);
    };
    with_stores(1, &[(1, 0)], reserve, async |bench| {
        match bench.state.plan(NewVolume::default()) {
            Err(Refused::NoSpace(sentence)) => {
                assert!(sentence.contains(", of which 1048576.0 TiB are kept"), "{sentence}");
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("there is no such disk"),
        }
        fill(&bench.board(1), 60 * MIB, MIB);
        bench.look_for(3).await;
        bench.settle().await;
        assert_eq!(bench.world.names(), [""; 0]);
        // A compaction in place may use the reserve; one that makes the file larger may not.
        let grows = WantedCompaction { size: Some(ByteSize(128 * MIB)), ..Default::default() };
        let refused = bench.state.compact(ONE, grows).await;
        assert!(matches!(refused, Err(Refused::NoSpace(_))), "{refused:?}");
        assert_eq!(bench.compact(1).await, Ok(()));
    });
}
