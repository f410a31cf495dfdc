//! What the main thread does for a cluster.

use std::rc::Rc;

use crate::base::cluster::{Collection, ReplicaPlacement};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;
use crate::node::control::{NewClusterVolume, NewVolume, Refused};
use crate::node::daemon::bench::{Bench, START, with_changed, with_manager};
use crate::node::daemon::manager::ManagerState;
use crate::node::shard::OrderError;
use crate::runtime::sim::Fault;

/// A task that is waited for.
type Task<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs `test` with a manager of a node of a cluster that has these volumes.
fn in_cluster<F: Future<Output = ()> + 'static>(
    volumes: &[u32],
    test: impl FnOnce(Bench) -> F + 'static,
) {
    let placed: Vec<(u32, usize)> = volumes.iter().map(|id| (*id, 0)).collect();
    let join = |state: &mut ManagerState| {
        state.config.cluster.master = vec!["127.0.0.1:9333".parse().unwrap()];
    };
    with_changed(1, &placed, join, test);
}

fn wanted(id: u32) -> NewVolume {
    let cluster = NewClusterVolume {
        collection: Collection::new("photos").unwrap(),
        placement: ReplicaPlacement(1),
        ttl: None,
    };
    NewVolume {
        id: Some(VolumeId(id)),
        size: Some(ByteSize::mib(272)),
        cluster: Some(cluster),
        ..NewVolume::default()
    }
}

#[test]
fn volume_of_the_cluster_is_made_and_opened() {
    in_cluster(&[1], async |bench| {
        assert_eq!(bench.state.create_for_cluster(wanted(2)).await, Ok(()));
        assert_eq!(bench.world.names(), ["2.0.vol"]);
        assert_eq!(bench.orders()[0].1, "open 2");
        assert_eq!(bench.state.creations.all(), []);
        for id in [1, 2] {
            let refused = bench.state.create_for_cluster(wanted(id)).await;
            assert!(matches!(refused, Err(Refused::Exists(_))), "{id}: {refused:?}");
        }
        assert_eq!((bench.orders(), bench.world.names().len()), (vec![], 1), "nothing was touched");
    });
}

#[test]
fn nothing_is_left_of_a_volume_that_was_not_made_or_not_opened() {
    in_cluster(&[1], async |bench| {
        bench.world.fail(2, Fault::Errno(28));
        let refused = bench.state.create_for_cluster(wanted(2)).await;
        assert!(matches!(refused, Err(Refused::NoSpace(_))), "{refused:?}");
        assert_eq!(bench.state.creations.all(), []);
        assert_eq!((bench.orders(), bench.world.names()), (vec![], vec![]));
        assert_eq!(
            bench.state.create_for_cluster(wanted(2)).await,
            Ok(()),
            "it can be tried again"
        );
    });
    in_cluster(&[1], async |bench| {
        bench.answer_with(Err(OrderError::NotOpened("a reason".to_owned())));
        let refused = bench.state.create_for_cluster(wanted(2)).await;
        assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
        let orders = bench.orders();
        assert!(orders.contains(&(1, "delete 2".to_owned())), "{orders:?}");
    });
}

#[test]
fn volumes_that_belong_to_no_cluster_get_ids_above_those_of_the_cluster() {
    in_cluster(&[1, 9], async |bench| {
        let own = bench.state.plan(NewVolume::default()).ok().unwrap();
        assert_eq!(own.volume(), VolumeId(1 << 31));
        let next = bench.state.plan(NewVolume::default()).ok().unwrap();
        assert_eq!(next.volume(), VolumeId((1 << 31) + 1));
        drop((own, next));
        let named = NewVolume { id: Some(VolumeId(5)), ..NewVolume::default() };
        assert!(bench.state.plan(named).is_ok(), "one that is named");
    });
    with_manager(&[1, 9], async |bench| {
        let own = bench.state.plan(NewVolume::default()).ok().unwrap();
        assert_eq!(own.volume(), VolumeId(10), "without a cluster");
    });
}

#[test]
fn new_files_leave_the_space_that_the_others_will_reserve() {
    in_cluster(&[1], async |bench| {
        bench.board(1).unreserved_bytes.set(u64::MAX);
        let refused = bench.state.create_for_cluster(wanted(2)).await;
        let Err(Refused::NoSpace(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("rest of the files"), "{why}");
        bench.board(1).unreserved_bytes.set(0);
        assert_eq!(bench.state.create_for_cluster(wanted(2)).await, Ok(()));
    });
    with_manager(&[1], async |bench| {
        bench.board(1).unreserved_bytes.set(u64::MAX);
        assert!(bench.state.plan(NewVolume::default()).is_ok(), "without a cluster");
        bench.state.show_reserves();
        let disk = &bench.state.shared.board.disks[0];
        assert_eq!(disk.reserve_bytes.get(), u64::MAX, "nobody asks");
    });
}

#[test]
fn reserve_of_each_disk_is_shown() {
    in_cluster(&[1], async |bench| {
        bench.state.show_reserves();
        assert_eq!(bench.state.shared.board.disks[0].reserve_bytes.get(), 0, "as configured");
        assert!(bench.state.own_ids_named.get());
    });
    in_cluster(&[1], async |bench| {
        bench.board(1).state.set(VolumeState::Recovering);
        bench.state.show_reserves();
        assert!(!bench.state.own_ids_named.get(), "it is not known whose it is");
    });
}

#[test]
fn volume_is_deleted_if_nothing_lives_in_it() {
    in_cluster(&[1, 2], async |bench| {
        assert_eq!(bench.state.delete_if_empty(VolumeId(2)).await, Ok(()));
        let orders: Vec<String> = bench.orders().into_iter().map(|(_, order)| order).collect();
        assert_eq!(orders[..2], ["read-only 2 true", "delete 2"]);
        assert!(bench.state.changing.borrow().is_empty());
        let missing = bench.state.delete_if_empty(VolumeId(2)).await;
        assert_eq!(missing, Err(Refused::NoSuchVolume(VolumeId(2))));
    });
}

#[test]
fn volume_in_which_something_lives_is_not_deleted() {
    in_cluster(&[1], async |bench| {
        let board = bench.board(1);
        board.live_bytes.set(512);
        let refused = bench.state.delete_if_empty(VolumeId(1)).await;
        assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
        assert_eq!(bench.orders(), []);
        // Something was stored between the look and the order.
        board.live_bytes.set(0);
        bench.needles.set(1);
        let refused = bench.state.delete_if_empty(VolumeId(1)).await;
        assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
        let orders = ["read-only 1 true", "read-only 1 false"].map(|it| (0, it.to_owned()));
        assert_eq!(bench.orders(), orders);
        bench.answer_with(Err(OrderError::Lost));
        let refused = bench.state.delete_if_empty(VolumeId(1)).await;
        assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
        assert_eq!(bench.orders(), [(0, "read-only 1 true".to_owned())]);
    });
}

#[test]
fn volume_is_closed_and_opened_by_order_of_the_cluster() {
    in_cluster(&[1], async |bench| {
        bench.board(1).cluster.placement.set(10);
        let (state, id) = (Rc::clone(&bench.state), VolumeId(1));
        assert_eq!(state.set_closed_by_cluster(id, true, true).await, Ok(()));
        assert_eq!(state.set_closed_by_cluster(id, true, false).await, Ok(()));
        assert_eq!(state.set_closed_by_cluster(id, false, true).await, Ok(()));
        let orders = ["true true", "true false", "false false"];
        let orders = orders.map(|flags| (0, format!("cluster 1 010 {flags}")));
        assert_eq!(bench.orders(), orders);
        let missing = state.set_closed_by_cluster(VolumeId(9), true, true).await;
        assert_eq!(missing, Err(Refused::NoSuchVolume(VolumeId(9))));
        bench.answer_with(Err(OrderError::Recovering));
        let refused = state.set_closed_by_cluster(id, true, true).await;
        assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
    });
}

/// Makes a volume one of the cluster whose photos live for an hour, and the newest of which is from the
/// start.
fn live_for_an_hour(bench: &Bench, id: u32) {
    let board = bench.board(id);
    board.cluster.collection.set(Collection::new("photos").unwrap()).unwrap();
    board.cluster.is_of_cluster.set(1);
    board.cluster.set_ttl("1h".parse().ok());
    board.newest_ns.set(START.wall_ns);
    board.newest_found_ns.set(START.wall_ns);
}

#[test]
fn volume_whose_time_is_over_is_hidden_and_then_deleted() {
    in_cluster(&[1, 2, 3, 4], async |bench| {
        live_for_an_hour(&bench, 1);
        live_for_an_hour(&bench, 2);
        live_for_an_hour(&bench, 3);
        bench.board(2).newest_ns.set(0);
        bench.board(3).cluster.set_ttl(None);
        let is_over = |bench: &Bench, id| bench.board(id).cluster.is_over.get();
        bench.advance(3599);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!(is_over(&bench, 1), 0);
        bench.advance(1);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!([1, 2, 3, 4].map(|id| is_over(&bench, id)), [1, 0, 0, 0], "2 is empty");
        bench.advance(360);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!(bench.orders(), [], "it is kept for a tenth of its time");
        bench.advance(1);
        bench.answer_with(Err(OrderError::Lost));
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!(bench.orders().len(), 1, "it was refused");
        bench.answer_with(Ok(()));
        Rc::clone(&bench.state).delete_expired().await;
        let orders: Vec<String> = bench.orders().into_iter().map(|(_, order)| order).collect();
        assert_eq!(orders[..2], ["read-only 1 true", "delete 1"]);
        assert!(bench.state.shared.board.volume(VolumeId(1)).is_none());
    });
}

#[test]
fn volume_that_is_written_to_while_it_is_closed_is_opened_again() {
    in_cluster(&[1], async |bench| {
        live_for_an_hour(&bench, 1);
        bench.advance(2 * 3600);
        let board = bench.board(1);
        let deletion = Rc::clone(&bench.state).delete_expired();
        let writing = async {
            while bench.orders().is_empty() {
                bench.state.handle.sleep_until(bench.state.handle.now() + 1000).await;
            }
            board.newest_ns.set(bench.clock().wall_ns);
        };
        crate::runtime::join_all([Box::pin(deletion) as Task<'_>, Box::pin(writing)], 2).await;
        assert_eq!(bench.orders(), [(0, "read-only 1 false".to_owned())]);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!(board.cluster.is_over.get(), 0);
    });
}

#[test]
fn clock_that_jumps_ahead_deletes_no_volume() {
    in_cluster(&[1], async |bench| {
        live_for_an_hour(&bench, 1);
        bench.board(1).newest_found_ns.set(START.wall_ns - 48 * 3600 * 1_000_000_000);
        bench.advance(2 * 3600);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!((bench.orders(), bench.board(1).cluster.is_over.get()), (vec![], 0));
    });
    with_manager(&[1], async |bench| {
        live_for_an_hour(&bench, 1);
        bench.advance(2 * 3600);
        Rc::clone(&bench.state).delete_expired().await;
        assert_eq!(bench.orders(), [], "without a cluster");
    });
}
