use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::base::limits::{CHUNK, NEEDLE_DATA_MAX};
use crate::base::types::NeedleId;
use crate::runtime::buffer::Lent;
use crate::volume::format::{ClusterProperties, crc32c};
use crate::volume::object::draft_attributes::Foreseen;
use crate::volume::tests::rig::{COOKIE, Rig, id, superblock};
use crate::volume::{Body, Draft, DraftAttributes, Slot, Superblock};

/// Fills a draft with bytes that differ from chunk to chunk.
fn fill(draft: &mut Draft) -> Vec<u8> {
    let chunks = draft.data_mut().chunks_mut(1000).zip(1..);
    chunks.for_each(|(bytes, n): (_, u32)| bytes.fill(n.to_le_bytes()[0]));
    draft.data().to_vec()
}

/// Reads an object, of which every byte is verified.
fn read(rig: &mut Rig, slot: &Rc<Slot>, id: NeedleId) -> Vec<u8> {
    let (slot, pool) = (Rc::clone(slot), rig.pool.clone());
    rig.run(async move {
        let needle = slot.get(id, COOKIE, |len| pool.alloc(len)).await.unwrap();
        if !needle.is_large {
            return needle.buf[needle.data.clone()].to_vec();
        }
        let len = needle.body_len;
        let mut body = slot.body((id, COOKIE), needle, 0..len).await.unwrap();
        let (mut read, mut buf) = (Vec::new(), pool.alloc(Body::buffer_len(CHUNK)).unwrap());
        while body.remaining() > 0 {
            let (back, part) = slot.read_body(&mut body, buf).await.unwrap();
            read.extend_from_slice(&back[part]);
            buf = back;
        }
        read
    })
}

/// Stores a draft whose data is lent meanwhile. Returns the handle.
fn store(rig: &mut Rig, slot: &Rc<Slot>, n: u64, mut draft: Draft) -> Lent {
    let lent = draft.lend();
    rig.try_store(slot, n, draft).unwrap();
    lent
}

#[test]
fn needle_is_stored_while_its_data_is_lent() {
    let (mut rig, slot) = Rig::with_volume();
    // The log's own block, and the like.
    let idle = rig.pool.used();
    for (n, len) in [(1, 0), (2, 700), (3, CHUNK), (4, 3 * CHUNK + 1), (5, NEEDLE_DATA_MAX)] {
        let mut draft = Draft::new(&rig.pool, Some(b"image/jpeg"), len).unwrap();
        let (bytes, memory) = (fill(&mut draft), rig.pool.used() - idle);
        let lent = store(&mut rig, &slot, n, draft);
        assert_eq!(read(&mut rig, &slot, id(n)), bytes);
        assert!(bytes == lent[..] && rig.pool.used() == idle + memory, "the buffer is lent");
        drop(lent);
        assert_eq!(rig.pool.used(), idle);
    }
    rig.close(&slot);
    let slot = rig.open();
    assert_eq!(read(&mut rig, &slot, id(5)).len() as u64, NEEDLE_DATA_MAX);
}

#[test]
fn attributes_are_filled_in_while_the_data_is_lent() {
    let cluster = Some(ClusterProperties::default());
    let (mut rig, slot) = Rig::with(Superblock { cluster, ..superblock() });
    let idle = rig.pool.used();
    // Not foreseen, the attributes do not fit, and the needle is stored from another buffer.
    for (n, foreseen) in [(1, true), (2, false)] {
        let foreseen = Foreseen { crc32c: foreseen, expiry: false };
        let attributes = DraftAttributes { foreseen, ..DraftAttributes::default() };
        let mut draft = Draft::with_attributes(&rig.pool, attributes, 2 * CHUNK).unwrap();
        let bytes = fill(&mut draft);
        assert_eq!(draft.crc32c(), crc32c(&bytes));
        let lent = store(&mut rig, &slot, n, draft);
        assert!(rig.pool.used() > idle);
        assert_eq!(read(&mut rig, &slot, id(n)), bytes);
        let (reader, pool) = (Rc::clone(&slot), rig.pool.clone());
        let head = async move { reader.head(id(n), COOKIE, |len| pool.alloc(len)).await.unwrap() };
        assert_eq!(rig.run(head).attributes().crc32c, Some(crc32c(&bytes)));
        assert!(bytes == lent[..]);
        drop(lent);
        assert_eq!(rig.pool.used(), idle);
    }
}

#[test]
fn part_is_stored_while_its_data_is_lent() {
    let (mut rig, slot) = Rig::with_volume();
    let idle = rig.pool.used();
    let (body_len, handle) = (NEEDLE_DATA_MAX + CHUNK + 1, rig.handle());
    let mut upload = slot.upload(id(1), COOKIE, body_len).unwrap();
    let writer = Rc::clone(&slot);
    let (mut body, lent) = rig.run(async move {
        let (mut body, mut lent, pool) = (Vec::new(), Vec::new(), handle.pool().clone());
        while upload.next_len(NEEDLE_DATA_MAX) > 0 {
            let mut part = upload.part(&pool, upload.next_len(NEEDLE_DATA_MAX)).unwrap();
            body.extend(fill(&mut part));
            // A chunk as it arrives, the others when the part is added.
            upload.absorb(&part.data()[..part.data_len().min(CHUNK as usize)]);
            lent.push(part.lend());
            upload.add(part).await.unwrap();
        }
        let manifest = upload.finish(&pool, None).await.unwrap();
        writer.put(id(1), COOKIE, manifest, None).await.unwrap();
        (body, lent)
    });
    assert_eq!(read(&mut rig, &slot, id(1)), body);
    assert!(rig.pool.used() > idle + body.len(), "the parts are lent");
    for part in lent {
        let used = rig.pool.used();
        assert!(body[..part.len()] == part[..]);
        body.drain(..part.len());
        drop(part);
        assert!(rig.pool.used() < used);
    }
    assert_eq!((body.len(), rig.pool.used()), (0, idle));
    slot.expect_rest();
}

#[test]
fn lent_data_is_not_written() {
    let (mut rig, slot) = Rig::with_volume();
    let mut draft = Draft::new(&rig.pool, None, 5).unwrap();
    let lent = draft.lend();
    assert!(catch_unwind(AssertUnwindSafe(|| draft.data_mut().fill(1))).is_err());
    drop(lent);
    draft.data_mut().fill(1);
    let upload = slot.upload(id(1), COOKIE, CHUNK).unwrap();
    let (mut part, pool) = (upload.part(&rig.pool, CHUNK).unwrap(), rig.pool.clone());
    part.data_mut().fill(1);
    let mut manifest = rig.run(async move {
        let mut upload = upload;
        upload.add(part).await.unwrap();
        upload.finish(&pool, None).await.unwrap()
    });
    assert!(catch_unwind(AssertUnwindSafe(|| manifest.lend())).is_err(), "filled in later");
}
