//! Volumes that are created ahead of need.

use super::{ONE, TWO, fill};
use crate::base::size::{ByteSize, MIB};
use crate::node::board::VolumeState;
use crate::node::config::{Config, OrWord};
use crate::node::control::{NewVolume, Refused, WantedCompaction};
use crate::node::daemon::bench::{with_manager, with_stores};
use crate::runtime::sim::Fault;

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
