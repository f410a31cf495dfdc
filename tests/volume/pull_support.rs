//! A volume and its copy, each on a simulated disk of its own, and the stream from one to the other.

use std::rc::Rc;

use hayloft::base::stream_position::ExchangeState;
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{BadExchange, ExchangeStart, RecordHead};
use hayloft::volume::{
    Draft, DraftAttributes, NotPulled, NotStreamed, Pull, Pulled, Replica, Slot, Superblock,
};

use crate::common::{self, Process, pool};
use crate::compaction_support::{SIZE, expected_of, id};

/// A volume that is a copy, in a process of its own.
pub fn copy() -> (Process, Rc<Slot>) {
    let mut process = Process::start(7, &Image::default(), &pool(32 << 20));
    process.create_as(Superblock {
        hash_seed: 43,
        incarnation: 9,
        replica: Some(Replica::default()),
        ..common::superblock(SIZE)
    });
    let slot = process.open_as(expected_of(0)).unwrap();
    (process, slot)
}

/// Reads a stream of `slot` from a position on, up to `pieces` pieces.
pub fn stream(
    process: &mut Process,
    slot: &Rc<Slot>,
    (since, deletions): (u64, bool),
    pieces: usize,
) -> Result<Vec<Vec<u8>>, NotStreamed> {
    let (mut all, mut at) = (Vec::new(), ExchangeState::after(since));
    while all.len() < pieces {
        let reading = Rc::clone(slot);
        let piece = process.run(async move { reading.read_exchange(at, deletions).await })?;
        at = piece.next;
        all.push(piece.bytes);
        if piece.is_end {
            break;
        }
    }
    Ok(all)
}

/// Makes a step of a pull.
pub fn step(
    process: &mut Process,
    mut pull: Pull,
    piece: &[u8],
) -> (Pull, Result<Pulled, NotPulled>) {
    let piece = piece.to_vec();
    process.run(async move {
        let pulled = pull.take(&piece).await;
        (pull, pulled)
    })
}

/// Stores pieces of a stream in a copy. Returns what was done, and whether the stream was complete.
pub fn store(
    process: &mut Process,
    slot: &Rc<Slot>,
    pieces: &[Vec<u8>],
    is_complete: bool,
) -> Result<Pulled, NotPulled> {
    let begin = Rc::clone(slot);
    let mut pull = process.run(async move { begin.begin_pull(is_complete).await })?;
    let mut done = Pulled::default();
    for piece in pieces {
        let (back, pulled) = step(process, pull, piece);
        pull = back;
        done += pulled?;
    }
    process.run(async move { pull.finish().await }).map(|_| done)
}

/// Pulls everything that is new in `source`.
pub fn pull(
    (from, source): (&mut Process, &Rc<Slot>),
    (to, copy): (&mut Process, &Rc<Slot>),
) -> Result<Pulled, NotStreamed> {
    let position = copy.volume().replica().unwrap().position;
    let pieces = stream(from, source, (position, true), usize::MAX)?;
    Ok(store(to, copy, &pieces, false).unwrap())
}

/// Everything in a volume that a copy must have: id, cookie, time, attributes, length and checksum of the
/// body.
pub fn contents(
    process: &mut Process,
    slot: &Rc<Slot>,
) -> Vec<(NeedleId, u64, u64, Vec<u8>, u64, u64)> {
    let pieces = stream(process, slot, (0, false), usize::MAX).unwrap().concat();
    let (start, mut rest) = pieces.split_first_chunk().unwrap();
    let (start, mut all, mut number) = (ExchangeStart::decode(start).unwrap(), Vec::new(), 0);
    while let Some((head, after)) = rest.split_first_chunk() {
        let head = RecordHead::decode(head, start.stream, number).unwrap();
        let (payload, after) = after.split_at(head.payload_len());
        let attributes = payload[..usize::from(head.attributes_len)].to_vec();
        use hayloft::volume::format::ExchangeKind::{
            Damaged, Deletion, LargeObject, Object, Withdrawn,
        };
        assert!(!matches!(head.kind, Damaged | Deletion | Withdrawn));
        if matches!(head.kind, Object | LargeObject) {
            let body = (head.body_len, head.body_checksum);
            all.push((head.id, head.cookie.0, head.modified_ns, attributes, body.0, body.1));
        }
        (rest, number) = (after, number + 1);
    }
    all.sort();
    all
}

pub fn replica(slot: &Rc<Slot>) -> Replica {
    slot.volume().replica().expect("it is a copy")
}

/// Stores an object with a cookie, a time and attributes of its own.
pub fn put_special(process: &mut Process, slot: &Rc<Slot>, key: u64, expires_ns: u64) {
    let handle = process.runtime.handle().clone();
    let slot = Rc::clone(slot);
    process.run(async move {
        let attributes = DraftAttributes {
            content_type: Some(b"image/jpeg"),
            expires_ns: Some(expires_ns),
            ..DraftAttributes::default()
        };
        let draft = Draft::with_attributes(handle.pool(), attributes, 40).unwrap();
        let draft = draft.modified(Some(1_000_000_000_000_000_123));
        slot.put(NeedleId::new(key, 7), Cookie(0xfeed), draft, None).await.unwrap();
    });
}

/// A stream of deletions, as a client makes it.
pub fn deletions(lineage: u64, since: u64, keys: &[u64]) -> Vec<u8> {
    use hayloft::base::types::VolumeId;
    use hayloft::volume::format::ExchangeKind;
    let (volume, stream, incarnation, deletions) = (VolumeId(1), 77, 0, true);
    let start = ExchangeStart { volume, stream, incarnation, since, lineage, deletions };
    let mut bytes = start.encode().to_vec();
    for (number, key) in (0..).zip(keys) {
        let end = RecordHead::end(number, 0);
        let head = RecordHead { kind: ExchangeKind::Deletion, id: id(*key), ..end };
        bytes.extend_from_slice(&head.encode(stream));
    }
    bytes.extend_from_slice(&RecordHead::end(keys.len() as u64, since).encode(stream));
    bytes
}

/// Pulls as the command does: incremental, or everything that lives and then the surplus.
pub fn pull_as_the_command(
    (from, source): (&mut Process, &Rc<Slot>),
    (to, copy): (&mut Process, &Rc<Slot>),
    cut: usize,
) {
    let Replica { position, has_surplus, .. } = replica(copy);
    let incremental = match has_surplus {
        true => None,
        false => stream(from, source, (position, true), usize::MAX).ok(),
    };
    let is_full = incremental.is_none();
    let pieces =
        incremental.unwrap_or_else(|| stream(from, source, (position, false), usize::MAX).unwrap());
    if cut < pieces.len() {
        let stored = store(to, copy, &pieces[..cut], false);
        assert_eq!(stored, Err(NotPulled::Bad(BadExchange::Cut)));
        return;
    }
    store(to, copy, &pieces, false).unwrap();
    if is_full {
        let there: Vec<_> = contents(from, source).iter().map(|one| one.0).collect();
        let here = contents(to, copy);
        let surplus = here.iter().map(|one| one.0).filter(|id| !there.contains(id));
        let keys: Vec<u64> = surplus.map(|id| id.key.0).collect();
        let position = replica(copy).position;
        let lineage = source.volume().lineage();
        store(to, copy, &[deletions(lineage, position, &keys)], true).unwrap();
    }
    assert!(!replica(copy).has_surplus);
}
