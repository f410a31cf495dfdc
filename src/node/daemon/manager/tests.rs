use super::super::bench::with_manager;
use super::*;
use crate::base::types::VolumeId;
use crate::node::daemon::disks::Lost;
use crate::node::daemon::space::space;
use crate::runtime::sim::Fault;
use crate::volume::NotRemoved;

fn new_volume() -> NewVolume {
    NewVolume::default()
}

#[test]
fn new_volume_id_is_above_all_existing_and_pending_ids() {
    with_manager(&[], async |bench| assert_eq!(bench.state.next_id(), Ok(VolumeId(1))));
    with_manager(&[3, 7], async |bench| {
        assert_eq!(bench.state.next_id(), Ok(VolumeId(8)));
        let plan = bench.state.plan(new_volume()).unwrap();
        assert_eq!((plan.changing.id, plan.size, plan.store), (VolumeId(8), 16 << 20, 0));
        assert_eq!(bench.state.next_id(), Ok(VolumeId(9)), "8 is being made");
        let creation = bench.state.creations.get(VolumeId(8)).unwrap();
        assert_eq!((creation.disk, creation.size, creation.done), (0, 16 << 20, 0));
        drop(plan);
        assert_eq!(bench.state.next_id(), Ok(VolumeId(8)));
    });
    with_manager(&[u32::MAX], async |bench| {
        assert!(matches!(bench.state.next_id(), Err(Refused::Conflict(_))));
    });
}

#[test]
fn second_change_of_a_volume_and_excess_changes_are_refused() {
    with_manager(&[], async |bench| {
        let mut changes: Vec<Changing> =
            (0..16).map(|id| bench.state.begin(VolumeId(id)).ok().unwrap()).collect();
        assert_eq!(changes.len(), CHANGES_MAX);
        assert!(matches!(bench.state.begin(VolumeId(3)), Err(Refused::Conflict(_))));
        assert!(matches!(bench.state.begin(VolumeId(99)), Err(Refused::Busy)));
        changes.remove(3);
        assert!(bench.state.begin(VolumeId(3)).is_ok());
        assert!(bench.state.begin(VolumeId(99)).is_ok(), "the one before has ended");
    });
}

#[test]
fn creation_beyond_the_open_file_limit_is_refused() {
    with_manager(&[1, 2], async |bench| {
        let _changed = bench.state.begin(VolumeId(1));
        let third = bench.state.plan(new_volume()).ok().unwrap();
        let fourth = bench.state.plan(new_volume()).ok().unwrap();
        assert_eq!([third.changing.id, fourth.changing.id], [3, 4].map(VolumeId));
        assert!(
            matches!(bench.state.plan(new_volume()), Err(Refused::NoSpace(_))),
            "4 is the most"
        );
        drop(fourth);
        assert!(bench.state.plan(new_volume()).is_ok());
    });
}

#[test]
fn invalid_creation_is_refused_with_its_reason() {
    with_manager(&[5], async |bench| {
        let refused = |new| bench.state.plan(new).err();
        let taken = NewVolume { id: Some(VolumeId(5)), ..new_volume() };
        assert!(matches!(refused(taken), Some(Refused::Exists(_))));
        let size = Some(ByteSize::mib(15));
        assert!(matches!(refused(NewVolume { size, ..new_volume() }), Some(Refused::Invalid(_))));
        let disk = Some(1);
        assert!(matches!(refused(NewVolume { disk, ..new_volume() }), Some(Refused::Invalid(_))));
        let (_, whole) = space(&bench.state.stores[0].path).unwrap();
        if whole < 1 << 40 {
            let size = Some(ByteSize::gib(1024));
            let refused = refused(NewVolume { size, ..new_volume() });
            assert!(matches!(refused, Some(Refused::NoSpace(_))));
        }
        assert!(bench.state.changing.borrow().is_empty(), "nothing is being changed");
        assert_eq!(bench.state.creations.all(), []);
        let disk = Some(0);
        let plan = bench
            .state
            .plan(NewVolume { id: Some(VolumeId(9)), disk, ..new_volume() })
            .ok()
            .unwrap();
        assert_eq!((plan.changing.id, plan.store), (VolumeId(9), 0));
    });
}

/// Whatever generation of it the file is.
#[test]
fn number_that_a_volume_or_a_file_has_is_not_given_to_a_new_volume() {
    with_manager(&[5], async |bench| {
        let refused = |id| bench.state.plan(NewVolume { id: Some(VolumeId(id)), ..new_volume() });
        assert!(matches!(refused(5), Err(Refused::Exists(_))), "the number of a volume");
        let path = bench.state.stores[0].path.join("6.3.vol");
        std::fs::write(&path, "came there since the start").unwrap();
        assert!(matches!(refused(6), Err(Refused::Exists(_))), "the number of a file");
        assert!(matches!(bench.state.plan(new_volume()), Err(Refused::Exists(_))), "also chosen");
        std::fs::remove_file(path).unwrap();
        assert!(refused(6).is_ok());
    });
}

#[test]
fn created_volume_is_opened_and_routed() {
    with_manager(&[1], async |bench| {
        let plan = bench.state.plan(new_volume()).ok().unwrap();
        bench.state.create(plan).await;
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        let placed = bench.state.placement.borrow().get(VolumeId(2)).cloned().unwrap();
        let found = FoundVolume::single(VolumeId(2), 0, 0);
        assert_eq!((placed.files, placed.shard.index()), (found.files, 1));
        assert_eq!(bench.world.names(), ["2.0.vol"]);
        assert!(bench.state.changing.borrow().is_empty());
        let routed = "route 2 Some(1)".to_owned();
        // The two shards share the device of the data directory.
        let shared = "limit 48".to_owned();
        let expected = [
            (1, "open 2".to_owned()),
            (0, routed.clone()),
            (0, shared.clone()),
            (1, routed),
            (1, shared),
        ];
        assert_eq!(bench.orders(), expected);
        assert!(bench.state.shared.metrics.volume(VolumeId(2)).is_some());
    });
}

#[test]
fn failed_creation_keeps_its_reason_until_it_is_deleted() {
    with_manager(&[1], async |bench| {
        let plan = bench.state.plan(new_volume()).ok().unwrap();
        bench.world.fail(2, Fault::Errno(28));
        bench.state.create(plan).await;
        let failed = bench.state.creations.get(VolumeId(2)).and_then(|creation| creation.failed);
        assert!(matches!(failed, Some(Refused::NoSpace(_))), "{failed:?}");
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        assert_eq!((bench.orders(), bench.world.names()), (vec![], vec![]));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        assert_eq!(bench.state.delete(VolumeId(2)).await, Err(Refused::NoSuchVolume(VolumeId(2))));
    });
    with_manager(&[1], async |bench| {
        let plan = bench.state.plan(new_volume()).ok().unwrap();
        bench.answer_with(Err(OrderError::NotOpened("a reason".to_owned())));
        bench.state.create(plan).await;
        let failed = bench.state.creations.get(VolumeId(2)).and_then(|creation| creation.failed);
        assert!(matches!(failed, Some(Refused::Failed(_))), "{failed:?}");
        assert!(bench.state.placement.borrow().get(VolumeId(2)).is_some(), "its file exists");
        bench.answer_with(Ok(()));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
    });
}

#[test]
fn volume_that_was_not_deleted_stays_routed() {
    with_manager(&[1, 2], async |bench| {
        let stays = NotRemoved::Kept(IoError::Errno(5));
        bench.answer_with(Err(OrderError::NotRemoved(stays)));
        assert!(matches!(bench.state.delete(VolumeId(2)).await, Err(Refused::Failed(_))));
        assert!(bench.state.placement.borrow().get(VolumeId(2)).is_some());
        assert_eq!(bench.orders(), [(1, "delete 2".to_owned())], "it is still routed");
        bench.answer_with(Ok(()));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()), "a second attempt is possible");
    });
}

#[test]
fn deleted_volume_is_neither_placed_nor_routed() {
    with_manager(&[1, 2], async |bench| {
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        let routed = "route 2 None".to_owned();
        // Shard 0 has the device for itself; shard 1 has no volume.
        let alone = "limit 96".to_owned();
        let expected = [
            (1, "delete 2".to_owned()),
            (0, routed.clone()),
            (0, alone.clone()),
            (1, routed),
            (1, alone),
        ];
        assert_eq!(bench.orders(), expected);
        assert!(bench.state.changing.borrow().is_empty());
    });
}

#[test]
fn orders_for_a_volume_go_to_the_shard_that_owns_it() {
    with_manager(&[1, 2, 3], async |bench| {
        assert_eq!(bench.state.set_read_only(VolumeId(2), true).await, Ok(()));
        assert_eq!(bench.orders(), [(1, "read-only 2 true".to_owned())]);
        let unknown = bench.state.set_read_only(VolumeId(9), true).await;
        assert_eq!(unknown, Err(Refused::NoSuchVolume(VolumeId(9))));
        let lose = |lost| Rc::clone(&bench.state).handle_lost(lost);
        lose(Lost::Volume(VolumeId(3), 5)).await;
        assert_eq!(bench.orders(), [(0, "fence 3 5".to_owned())]);
        lose(Lost::Volume(VolumeId(9), 0)).await;
        assert_eq!(bench.orders(), []);
        let inside = [(1, 0), (2, 4), (9, 0)].map(|(id, generation)| (VolumeId(id), generation));
        lose(Lost::Disk(inside.to_vec())).await;
        let fenced = [(0, "fence 1 0"), (1, "fence 2 4")];
        assert_eq!(bench.orders(), fenced.map(|(shard, text)| (shard, text.to_owned())));
    });
}

#[test]
fn volume_without_a_file_is_neither_placed_nor_routed() {
    with_manager(&[1, 2], async |bench| {
        Rc::clone(&bench.state).handle_lost(Lost::LastFile(VolumeId(2))).await;
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        let orders = bench.orders();
        assert!(orders.contains(&(0, "route 2 None".to_owned())), "{orders:?}");
        assert!(bench.state.plan(NewVolume { id: Some(VolumeId(2)), ..new_volume() }).is_ok());
    });
}

#[test]
fn creation_is_refused_if_any_file_has_the_number() {
    with_manager(&[1], async |bench| {
        let path = bench.make_file(7, 3);
        let seven = NewVolume { id: Some(VolumeId(7)), ..new_volume() };
        let Some(Refused::Exists(why)) = bench.state.plan(seven.clone()).err() else {
            panic!("it is taken")
        };
        assert!(why.contains(path.to_str().unwrap()) && why.contains("restart"), "{why}");
        std::fs::remove_file(path).unwrap();
        assert!(bench.state.plan(seven).is_ok());
    });
}
