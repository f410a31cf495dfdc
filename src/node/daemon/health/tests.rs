//! Tests of the decisions in a manager whose shards only record their orders.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::Records;
use crate::base::threads::Threads;
use crate::base::types::VolumeId;
use crate::node::board::{ShownWriteState, VolumeState};
use crate::node::control::Refused;
use crate::node::daemon::bench::{Bench, with_changed, with_manager, with_stores};
use crate::node::daemon::manager::ManagerState;
use crate::node::daemon::store::Store;
use crate::node::datadir::{HealthRecord, VolumeHealth};

const ONE: VolumeId = VolumeId(1);

impl Bench {
    /// Lets the manager look at the health, and waits until its orders were carried out.
    async fn look_at_health(&self) {
        Rc::clone(&self.state).look_at_health().await;
        let handle = &self.state.handle;
        handle.sleep_until(handle.now() + 1_000_000_000).await;
        self.advance(1);
    }

    /// Adds errors of a volume: hard ones, soft ones, and whether the device has returned them.
    fn fail_reads(&self, id: u32, hard: u64, soft: u64, of_device: bool) {
        let board = self.board(id);
        board.write_state.set(ShownWriteState::Writable);
        let health = &board.health;
        for (level, more) in [(&health.hard_errors, hard), (&health.soft_errors, soft)] {
            level.set(level.get() + more);
        }
        if of_device {
            for (level, more) in
                [(&health.hard_device_errors, hard), (&health.soft_device_errors, soft)]
            {
                level.set(level.get() + more);
            }
        }
    }

    /// Orders of this kind, without their shards.
    fn orders_of(&self, kind: &str) -> Vec<String> {
        let orders = self.orders().into_iter().map(|(_, text)| text);
        orders.filter(|text| text.starts_with(kind)).collect()
    }

    fn health_of(&self, disk: usize, id: VolumeId) -> Option<VolumeHealth> {
        self.state.health.records.borrow().get(disk, id).cloned()
    }

    fn make_writable(&self, ids: &[u32]) {
        for id in ids {
            self.board(*id).write_state.set(ShownWriteState::Writable);
        }
    }
}

fn with_records(state: &mut ManagerState) {
    let threads = Threads::default();
    let mut records = Records::read(&state.stores, 1000);
    records.start_writers(&state.stores, &threads).unwrap();
    state.health = super::HealthState::new(records, state.stores.len(), "boot 1".to_owned());
}

#[test]
fn third_hard_error_or_tenth_soft_one_makes_a_volume_suspect() {
    for (first, last) in [((2, 0), (1, 0)), ((0, 9), (0, 1))] {
        with_manager(&[1, 2], move |bench| async move {
            bench.make_writable(&[1, 2]);
            bench.fail_reads(1, first.0, first.1, false);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("suspect"), [] as [&str; 0]);
            bench.fail_reads(1, last.0, last.1, false);
            bench.look_at_health().await;
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("suspect"), ["suspect 1"], "wrong bytes of the one volume");
            assert!(bench.board(1).health.suspect_since_ns.get() > 0);
        });
    }
}

#[test]
fn errors_of_the_device_make_all_volumes_of_the_disk_suspect_and_no_others() {
    with_stores(
        2,
        &[(1, 0), (2, 0), (3, 1)],
        |_| (),
        |bench| async move {
            bench.make_writable(&[1, 2, 3]);
            bench.fail_reads(1, 2, 0, true);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("suspect"), [] as [&str; 0]);
            bench.fail_reads(2, 1, 0, true);
            bench.look_at_health().await;
            let mut suspect = bench.orders_of("suspect");
            suspect.sort();
            assert_eq!(suspect, ["suspect 1", "suspect 2"]);
        },
    );
}

#[test]
fn errors_that_are_ten_minutes_apart_make_nothing_suspect() {
    with_manager(&[1], |bench| async move {
        bench.make_writable(&[1]);
        for _ in 0..6 {
            bench.fail_reads(1, 1, 3, true);
            bench.look_at_health().await;
            bench.advance(301);
        }
        assert_eq!(bench.orders_of("suspect"), [] as [&str; 0]);
    });
}

#[test]
fn first_error_starts_a_burst_over_the_volumes_of_its_disk() {
    with_stores(
        2,
        &[(1, 0), (2, 0), (3, 1)],
        |_| (),
        |bench| async move {
            bench.make_writable(&[1, 2, 3]);
            bench.board(1).live_bytes.set(900);
            bench.board(2).live_bytes.set(100);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("burst"), [] as [&str; 0]);
            bench.fail_reads(2, 0, 1, true);
            bench.look_at_health().await;
            let mut bursts = bench.orders_of("burst");
            bursts.sort();
            assert_eq!(bursts, ["burst 1 900", "burst 2 100"]);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("burst"), [] as [&str; 0], "no new error");
            // What the burst finds leads to the next one, when the first has had its time.
            bench.fail_reads(1, 0, 2, true);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("burst"), [] as [&str; 0]);
            bench.advance(20);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("burst").len(), 2);
        },
    );
}

#[test]
fn hanging_shard_delays_its_own_orders_only() {
    with_stores(
        2,
        &[(1, 0), (2, 1)],
        |_| (),
        |bench| async move {
            bench.make_writable(&[1, 2]);
            let shard = bench.board(1).info.shard;
            assert_ne!(shard, bench.board(2).info.shard);
            bench.state.health.asking.borrow_mut().insert(shard);
            bench.fail_reads(1, 3, 0, true);
            bench.fail_reads(2, 3, 0, true);
            bench.look_at_health().await;
            assert_eq!(bench.orders_of("suspect"), ["suspect 2"]);
            bench.state.health.asking.borrow_mut().remove(&shard);
            bench.look_at_health().await;
            let orders = bench.orders();
            let texts: Vec<_> = orders.iter().map(|(_, text)| &text[..]).collect();
            assert!(
                texts.contains(&"suspect 1") && texts.iter().any(|it| it.starts_with("burst 1"))
            );
        },
    );
}

#[test]
fn suspicion_and_places_outlive_a_start_until_an_operator_clears_it() {
    with_changed(1, &[(1, 0)], with_records, |bench| async move {
        bench.make_writable(&[1]);
        bench.look_at_health().await;
        bench.fail_reads(1, 3, 0, false);
        bench.look_at_health().await;
        let path = bench.state.stores[0].path.clone();
        bench.state.health.records.borrow().flush(Duration::from_secs(10));
        let known = read(&path, 2000).known(0, ONE).unwrap();
        assert!(known.is_suspect);
        assert_eq!((known.errors.incarnation, known.errors.places.first()), (7, Some(&(0..512))));
        // Clearing counts anew from there.
        bench.state.clear(ONE).await.unwrap();
        bench.look_at_health().await;
        assert_eq!(bench.orders_of("clear"), ["clear 1"]);
        assert_eq!(bench.health_of(0, ONE).unwrap().suspect, None);
        assert_eq!(bench.board(1).health.suspect_since_ns.get(), 0);
        bench.fail_reads(1, 2, 0, false);
        bench.look_at_health().await;
        assert_eq!(bench.orders_of("suspect"), [] as [&str; 0]);
        bench.state.health.records.borrow().flush(Duration::from_secs(10));
        assert!(!read(&path, 2000).known(0, ONE).unwrap().is_suspect);
        assert!(matches!(bench.state.clear(ONE).await, Err(Refused::Conflict(_))));
        let absent = bench.state.clear(VolumeId(9)).await;
        assert!(matches!(absent, Err(Refused::NoSuchVolume(_))));
    });
}

fn read(path: &Path, now: u64) -> Records {
    Records::read(&[store(path)], now)
}

fn store(path: &Path) -> Store {
    let dir = crate::node::datadir::DataDir::read_unlocked(path).unwrap();
    Store { path: path.to_owned(), dir: Some(dir), state: crate::node::board::DiskState::Ok }
}

#[test]
fn record_of_a_new_directory_says_that_nothing_is_known_to_be_wrong() {
    with_changed(1, &[(1, 0)], with_records, |bench| async move {
        let path = bench.state.stores[0].path.clone();
        assert!(read(&path, 1).known(0, ONE).is_none(), "no record");
        bench.look_at_health().await;
        bench.state.health.records.borrow().flush(Duration::from_secs(10));
        assert!(read(&path, 1).known(0, ONE).is_some_and(|known| !known.is_suspect));
        std::fs::write(path.join("health.json"), "garbage").unwrap();
        assert!(read(&path, 1).known(0, ONE).is_none(), "an unreadable record");
    });
}

#[test]
fn volume_whose_writes_failed_in_two_starts_in_a_row_is_suspect() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    drop(crate::node::datadir::DataDir::open(&path, true).unwrap());
    let write = |starts: u32, poisoned: bool| {
        let mut record = HealthRecord::default();
        let health = VolumeHealth { poisoned, poisoned_starts: starts, ..Default::default() };
        record.volumes.insert(ONE, health);
        record.write(&path).unwrap();
        let records = read(&path, 5);
        let is_suspect = records.known(0, ONE).unwrap().is_suspect;
        (is_suspect, records.get(0, ONE).unwrap().poisoned_starts)
    };
    assert_eq!(write(1, true), (false, 1));
    assert_eq!(write(2, true), (true, 2));
    assert_eq!(write(2, false), (false, 0), "the last start was without");
}

#[test]
fn daemon_ends_for_poison_if_nothing_else_serves_and_else_once_in_each_boot() {
    with_changed(1, &[(1, 0), (2, 0)], with_records, |bench| async move {
        let set = |id, state| bench.board(id).state.set(state);
        set(1, VolumeState::Poisoned);
        set(2, VolumeState::ReadOnly);
        bench.look_at_health().await;
        let health = bench.health_of(0, ONE).unwrap();
        assert!(health.poisoned && health.poisoned_starts == 1, "{health:?}");
        assert!(bench.state.ends_for_poison());
        assert!(!bench.state.ends_for_poison(), "volume 2 serves reads");
        set(2, VolumeState::Failed);
        assert!(bench.state.ends_for_poison() && bench.state.ends_for_poison());
        set(2, VolumeState::Poisoned);
        assert!(bench.state.ends_for_poison());
        let path = bench.state.stores[0].path.clone();
        let record = HealthRecord::read(&path).unwrap().unwrap();
        let ended = record.volumes[&ONE].ended_in_boot.as_deref();
        assert_eq!((ended, record.volumes[&ONE].poisoned_starts), (Some("boot 1"), 1));
    });
}

#[test]
fn hanging_read_makes_a_disk_slow() {
    with_stores(
        2,
        &[(1, 0), (2, 1)],
        |_| (),
        |bench| async move {
            let now = bench.clock().monotonic_ns;
            bench.board(2).health.probe_began_ns.set(now);
            bench.look_at_health().await;
            let slow = || {
                bench.state.shared.board.disks.iter().map(|it| it.slow.get()).collect::<Vec<_>>()
            };
            assert_eq!(slow(), [0, 0]);
            bench.advance(10);
            bench.look_at_health().await;
            assert_eq!(slow(), [0, 1]);
            bench.board(2).health.probe_began_ns.set(0);
            bench.look_at_health().await;
            assert_eq!(slow(), [0, 0]);
        },
    );
}

#[test]
fn what_is_known_of_a_volume_that_is_gone_is_forgotten() {
    with_changed(1, &[(1, 0)], with_records, |bench| async move {
        bench.make_writable(&[1]);
        bench.fail_reads(1, 1, 0, false);
        bench.look_at_health().await;
        assert!(bench.health_of(0, ONE).is_some());
        let record = bench.state.stores[0].path.join("health.json");
        let flush = || bench.state.health.records.borrow().flush(Duration::from_secs(10));
        flush();
        std::fs::remove_file(&record).unwrap();
        bench.look_at_health().await;
        flush();
        assert!(!record.exists(), "nothing has changed, and nothing is written");
        bench.state.forget(ONE).await;
        bench.look_at_health().await;
        assert!(bench.health_of(0, ONE).is_none());
        flush();
        let written = HealthRecord::read(&bench.state.stores[0].path).unwrap().unwrap();
        assert!(written.volumes.is_empty());
    });
}

#[test]
fn volume_found_suspect_before_it_served_is_suspect_since_the_first_look() {
    with_changed(1, &[(1, 0)], with_records, |bench| async move {
        let now = bench.clock().wall_ns / 1_000_000_000;
        bench.board(1).health.suspect.set(1);
        for _ in 0..2 {
            bench.look_at_health().await;
            assert_eq!(bench.board(1).health.suspect_since_ns.get(), now * 1_000_000_000);
        }
        let suspicion = bench.health_of(0, ONE).unwrap().suspect.unwrap();
        assert_eq!((suspicion.since, &suspicion.why[..12]), (now, "reads failed"));
    });
}
