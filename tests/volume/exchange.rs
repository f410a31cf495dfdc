//! Streams in the exchange format on the simulated disk: every byte arrives, whatever happens between two
//! pieces.

use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::stream_position::ExchangeState;
use hayloft::volume::format::{
    BadExchange, EXCHANGE_START_LEN, ExchangeKind, ExchangeSequence, ExchangeStart, Kind,
    RECORD_HEAD_LEN, RecordHead, data_checksum, decode_header,
};
use hayloft::volume::{NewNeedle, NotStreamed, Slot};

use crate::common::{self, COOKIE, Process, bytes, draft};
use crate::compaction_support::{self, Model, OLD, compact, filled, id, started};

/// What was read of a stream.
#[derive(Default)]
struct Seen {
    objects: BTreeMap<u64, Vec<u8>>,
    deleted: Vec<u64>,
    damaged: Vec<u64>,
    withdrawn: Vec<u64>,
    /// Version of the last complete record.
    version: u64,
    end: u64,
}

/// Decodes a whole stream, and checks everything in it.
fn decode(stream: &[u8]) -> Result<Seen, BadExchange> {
    let (start, mut rest) =
        stream.split_first_chunk::<EXCHANGE_START_LEN>().ok_or(BadExchange::Cut)?;
    let start = ExchangeStart::decode(start)?;
    let (mut order, mut seen, mut body) =
        (ExchangeSequence::default(), Seen::default(), Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<RECORD_HEAD_LEN>() {
        let head = RecordHead::decode(head, start.stream, order.next_number())?;
        let (payload, after) =
            after.split_at_checked(head.payload_len()).ok_or(BadExchange::Cut)?;
        head.verify(payload)?;
        rest = after;
        let key = head.id.key.0;
        let is_complete = order.take(&head)?;
        let (attributes, data) = payload.split_at(usize::from(head.attributes_len));
        if matches!(head.kind, ExchangeKind::Object | ExchangeKind::LargeObject) {
            assert_eq!(&attributes[4..], b"image/jpeg", "the content type");
            assert!(head.cookie.matches(COOKIE));
        }
        match head.kind {
            ExchangeKind::Object => drop(seen.objects.insert(key, data.to_vec())),
            ExchangeKind::LargeObject => body.clear(),
            ExchangeKind::Piece => {
                body.extend_from_slice(data);
                if is_complete {
                    assert_eq!(data_checksum(&body), head.body_checksum);
                    seen.objects.insert(key, std::mem::take(&mut body));
                }
            }
            ExchangeKind::Withdrawn => seen.withdrawn.push(key),
            ExchangeKind::Deletion => {
                seen.objects.remove(&key);
                seen.deleted.push(key);
            }
            ExchangeKind::Damaged => seen.damaged.push(key),
            ExchangeKind::End => seen.end = head.version,
        }
        if is_complete {
            assert!(head.version > seen.version, "versions rise");
            seen.version = head.version;
        }
    }
    if rest.is_empty() { order.finish().map(|()| seen) } else { Err(BadExchange::Cut) }
}

fn read(
    process: &mut Process,
    slot: &Rc<Slot>,
    from: ExchangeState,
    deletions: bool,
) -> Result<(Vec<u8>, ExchangeState, bool), NotStreamed> {
    let slot = Rc::clone(slot);
    let piece = process.run(async move { slot.read_exchange(from, deletions).await })?;
    assert!(piece.bytes.len() <= 2 << 20, "{} bytes", piece.bytes.len());
    Ok((piece.bytes, piece.next, piece.is_end))
}

/// Reads a whole stream. Calls `between` after each piece but the last one.
fn read_all(
    process: &mut Process,
    slot: &Rc<Slot>,
    from: ExchangeState,
    mut between: impl FnMut(&mut Process, usize),
) -> Vec<u8> {
    let (mut stream, mut at) = (Vec::new(), from);
    for pieces in 1.. {
        assert!(pieces < 10_000, "the stream makes progress");
        let (bytes, next, is_end) = read(process, slot, at, true).unwrap();
        stream.extend(bytes);
        at = next;
        if is_end {
            break;
        }
        between(process, pieces);
    }
    stream
}

#[test]
fn stream_has_every_byte_of_every_object() {
    let (mut process, slot) = started();
    let empty = read_all(&mut process, &slot, ExchangeState::after(0), |_, _| ());
    let seen = decode(&empty).unwrap();
    assert!(seen.objects.is_empty() && seen.deleted.is_empty());
    let mut model = filled(&mut process, &slot);
    let free = process.runtime.handle().pool().used();
    let stream = read_all(&mut process, &slot, ExchangeState::after(0), |process, _| {
        assert_eq!(process.runtime.handle().pool().used(), free, "nothing is held between pieces");
    });
    let seen = decode(&stream).unwrap();
    assert_eq!(seen.objects, model.objects);
    assert_eq!(seen.deleted, [1, 7, 15, 22]);
    assert!(seen.damaged.is_empty() && seen.withdrawn.is_empty());
    // Incremental from its end.
    model.put(&mut process, &slot, 500, bytes(500, 1_500_000));
    model.delete(&mut process, &slot, 2);
    let more = read_all(&mut process, &slot, ExchangeState::after(seen.end), |_, _| ());
    let more = decode(&more).unwrap();
    assert_eq!((more.objects.len(), &more.deleted[..]), (1, &[2][..]));
    assert!(more.objects[&500] == model.objects[&500]);
    process.close(&slot);
}

#[test]
fn stream_that_is_cut_or_changed_anywhere_is_refused() {
    let (mut process, slot) = started();
    for key in 0..4 {
        process.put(&slot, id(key), &bytes(key, 300)).unwrap();
    }
    process.put_large(&slot, id(9), &bytes(9, 1_100_000), &[400_000]).unwrap();
    process.delete(&slot, id(1)).unwrap();
    let stream = read_all(&mut process, &slot, ExchangeState::after(0), |_, _| ());
    assert!(decode(&stream).is_ok());
    for len in (0..2000).chain(stream.len() - 2000..stream.len()) {
        assert!(decode(&stream[..len]).is_err(), "cut at {len}");
    }
    let mut changed = stream.clone();
    for at in (0..stream.len()).step_by(97) {
        changed[at] ^= 1;
        assert!(decode(&changed).is_err(), "byte {at}");
        changed[at] ^= 1;
    }
    process.close(&slot);
}

#[test]
fn compaction_after_any_piece_changes_nothing() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let whole = read_all(&mut process, &slot, ExchangeState::after(0), |_, _| ());
    process.close(&slot);
    for at_piece in 1..20 {
        let (mut process, slot) = started();
        filled(&mut process, &slot);
        let compacting = Rc::clone(&slot);
        let stream = read_all(&mut process, &slot, ExchangeState::after(1), |process, pieces| {
            if pieces == at_piece {
                let keep = compaction_support::order();
                let keep = hayloft::volume::CompactionOrder { tombstone_keep_ns: 1 << 60, ..keep };
                compaction_support::compact_as(process, &compacting, keep).unwrap();
            }
        });
        let seen = decode(&stream).unwrap();
        assert!(seen.objects == model.objects, "compacted after piece {at_piece}");
        assert!(seen.withdrawn.is_empty());
        process.close(&slot);
    }
    assert!(decode(&whole).unwrap().objects == model.objects);
}

#[test]
fn large_object_that_changes_while_it_is_sent_is_withdrawn_and_its_successor_follows() {
    let (mut process, slot) = started();
    let mut model = Model::default();
    model.put(&mut process, &slot, 1, bytes(1, 5_000_000));
    model.put(&mut process, &slot, 2, bytes(2, 5_000_000));
    let writing = Rc::clone(&slot);
    let stream =
        read_all(&mut process, &slot, ExchangeState::after(0), |process, pieces| match pieces {
            2 => model.put(process, &writing, 1, bytes(11, 2_000_000)),
            5 => model.delete(process, &writing, 2),
            _ => {}
        });
    let seen = decode(&stream).unwrap();
    assert_eq!(seen.withdrawn, [1, 2]);
    assert!(seen.objects == model.objects);
    process.close(&slot);
}

#[test]
fn damaged_objects_are_named_and_the_others_arrive() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let image = process.image().bytes(OLD);
    let incarnation = common::superblock(0).incarnation;
    for at in (65_536..image.len() - 4096).step_by(512) {
        let Some((header, 0)) = decode_header(&image[at..], incarnation, at as u64) else {
            continue;
        };
        let data = at + header.layout().data_start;
        match (header.id.key.0, header.kind) {
            (5, Kind::Data) => process.world.rot(OLD, data + 100, 1),
            // The last of the parts.
            (23, Kind::Part) if header.data_len < 300_000 => process.world.rot(OLD, data, 1),
            _ => {}
        }
    }
    let stream = read_all(&mut process, &slot, ExchangeState::after(0), |_, _| ());
    let seen = decode(&stream).unwrap();
    assert_eq!((&seen.damaged[..], &seen.withdrawn[..]), (&[5, 23][..], &[23][..]));
    let mut expected = model.objects.clone();
    expected.retain(|key, _| ![5, 23].contains(key));
    assert!(seen.objects == expected);
    process.close(&slot);
}

#[test]
fn stream_below_the_horizon_is_refused() {
    let (mut process, slot) = started();
    filled(&mut process, &slot);
    let all = decode(&read_all(&mut process, &slot, ExchangeState::after(0), |_, _| ())).unwrap();
    process.delete(&slot, id(2)).unwrap();
    compact(&mut process, &slot).unwrap();
    let from = ExchangeState::after(all.version);
    let refused = read(&mut process, &slot, from, true);
    assert!(matches!(refused, Err(NotStreamed::Behind(_))));
    assert!(read(&mut process, &slot, from, false).is_ok(), "without deletions");
    let future = read_all(&mut process, &slot, ExchangeState::after(u64::MAX), |_, _| ());
    assert!(decode(&future).unwrap().objects.is_empty());
    process.close(&slot);
}

#[test]
fn piece_is_little_more_than_one_read() {
    const PHOTO: usize = 40_000;
    let (mut process, slot) = started();
    let pool = process.runtime.handle().pool().clone();
    let mut model = Model::default();
    // Commits of many pieces, and pieces of many commits.
    for batch in 0..4 {
        let keys = batch * 100..batch * 100 + 100;
        let new = |key| {
            let draft = draft(&pool, &bytes(key, PHOTO));
            NewNeedle { id: id(key), cookie: COOKIE, draft }
        };
        let (writing, needles) = (Rc::clone(&slot), keys.clone().map(new).collect());
        process.run(async move { writing.put_batch(needles, None).await }).unwrap();
        model.objects.extend(keys.map(|key| (key, bytes(key, PHOTO))));
    }
    for key in 1000..1100 {
        model.put(&mut process, &slot, key, bytes(key, PHOTO));
    }
    let reads = slot.volume().stats().other_reads.get();
    let mut pieces = 0;
    let stream = read_all(&mut process, &slot, ExchangeState::after(0), |_, n| pieces = n);
    let reads = usize::try_from(slot.volume().stats().other_reads.get() - reads).unwrap();
    assert!(decode(&stream).unwrap().objects == model.objects);
    assert!(pieces <= stream.len().div_ceil(900_000), "{pieces} pieces of {} bytes", stream.len());
    // The end of each batch is looked at from its first piece, too.
    assert!(reads <= pieces + 8, "{reads} reads for {pieces} pieces");
    process.close(&slot);
}
