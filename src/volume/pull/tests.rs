use std::cell::Cell;
use std::rc::Rc;

use super::Pulled;
use crate::base::stream_position::{ExchangeState, StreamPosition};
use crate::volume::format::{HEADER_LEN, RECORD_HEAD_LEN, Replica};
use crate::volume::tests::rig::{COOKIE, Rig, SECOND, id, location, superblock};
use crate::volume::{PieceLimits, Slot, Superblock};

fn take(rig: &mut Rig, slot: &Rc<Slot>, bytes: &[u8]) -> Pulled {
    let (slot, bytes) = (Rc::clone(slot), bytes.to_vec());
    rig.run(async move { slot.begin_pull(false).await.unwrap().take(&bytes).await.unwrap() })
}

#[test]
fn object_whose_attributes_do_not_verify_is_stored_again() {
    let (mut from, source) = Rig::with_volume();
    from.put_jpeg(&source, 1);
    let stream = from
        .run(async move { source.read_exchange(ExchangeState::after(0), false).await.unwrap() });
    assert!(stream.is_end);
    // Without its end: the next pull begins at the start, too.
    let stream = &stream.bytes[..stream.bytes.len() - RECORD_HEAD_LEN];
    let (mut to, copy) = Rig::with(Superblock {
        hash_seed: 43,
        incarnation: 9,
        replica: Some(Replica::default()),
        ..superblock()
    });
    let stored = |pulled: Pulled| (pulled.objects, pulled.known);
    assert_eq!(stored(take(&mut to, &copy, stream)), (1, 0));
    assert_eq!(stored(take(&mut to, &copy, stream)), (0, 1));
    // The padding of the attributes, of 14 bytes, has no other use than to be verified.
    to.rot(location(&copy, 1).offset + HEADER_LEN as u64 + 15);
    assert_eq!(stored(take(&mut to, &copy, stream)), (1, 0));
    assert_eq!(stored(take(&mut to, &copy, stream)), (0, 1));
    copy.expect_rest();
}

#[test]
fn deletion_keeps_the_time_that_it_has_at_the_source() {
    let (mut from, source) = Rig::with_volume();
    from.put(&source, 1);
    let (mut to, copy) = Rig::with(Superblock {
        hash_seed: 43,
        incarnation: 9,
        replica: Some(Replica::default()),
        ..superblock()
    });
    let wall = to.handle().wall();
    to.world.set_wall(wall + 1_000 * SECOND);
    let mut follow = |from: &mut Rig| {
        let (reading, position) = (Rc::clone(&source), copy.volume().replica().unwrap().position);
        let stream = from.run(async move {
            reading.read_exchange(ExchangeState::after(position), true).await.unwrap()
        });
        assert!(stream.is_end);
        take(&mut to, &copy, &stream.bytes)
    };
    assert_eq!(follow(&mut from).objects, 1);
    from.delete(&source, 1);
    assert_eq!(follow(&mut from).deletions, 1);
    let deleted = |rig: &mut Rig, slot: &Rc<Slot>| {
        let (slot, limits) = (Rc::clone(slot), PieceLimits::default());
        let read = async move { slot.read_records(StreamPosition::START, true, limits).await };
        let records = rig.run(read).unwrap().records;
        assert_eq!(records.len(), 1);
        records[0].modified_ns.unwrap()
    };
    assert_eq!(deleted(&mut to, &copy), deleted(&mut from, &source));
}

#[test]
fn at_most_two_parts_of_a_large_body_are_in_memory() {
    const PART: usize = 1 << 20;
    let (mut from, source) = Rig::with_volume();
    let (storing, pool) = (Rc::clone(&source), from.pool.clone());
    from.run(async move {
        let mut upload = storing.upload(id(1), COOKIE, 5 * PART as u64).unwrap();
        for _ in 0..5 {
            let mut part = upload.part(&pool, PART as u64).unwrap();
            part.data_mut().fill(7);
            upload.add(part).await.unwrap();
            upload.settle().await.unwrap();
        }
        let manifest = upload.finish(&pool, None).await.unwrap();
        storing.put(id(1), COOKIE, manifest, None).await.unwrap();
    });
    let stream = from.run(async move {
        let (mut bytes, mut state) = (Vec::new(), ExchangeState::after(0));
        loop {
            let piece = source.read_exchange(state, false).await.unwrap();
            bytes.extend(piece.bytes);
            state = piece.next;
            if piece.is_end {
                break bytes;
            }
        }
    });
    let (mut to, copy) = Rig::with(Superblock {
        hash_seed: 43,
        incarnation: 9,
        replica: Some(Replica::default()),
        ..superblock()
    });
    let most = Rc::new(Cell::new(0));
    let (seen, pool) = (Rc::clone(&most), to.pool.clone());
    to.world.on_event(move |_| seen.set(seen.get().max(pool.used())));
    assert_eq!(take(&mut to, &copy, &stream).objects, 1);
    let most = most.get();
    assert!((PART..2 * PART + PART / 2).contains(&most), "{most} bytes of buffers");
}
