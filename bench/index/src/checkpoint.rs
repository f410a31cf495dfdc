//! CPU time of encoding and restoring a checkpoint without the device, and of the steps of that work between
//! which the event loop runs other tasks.

use hayloft::base::types::NeedleId;
use hayloft::volume::format::{
    PAYLOAD_AT, PIECE_LEN_MAX, PieceKind, SegmentRecord, decode_piece, encode_segment,
    finish_piece, segment_len,
};
use hayloft::volume::index::{Hasher, Index};
use hdrhistogram::Histogram;

use crate::names::{SEED, VOLUME, location};
use crate::time::{cpu_ns, row};

/// Arbitrary incarnation of the measured checkpoint.
const INCARNATION: u64 = 7;

/// Runs `work` and records its CPU time (nanoseconds).
fn timed<T>(times: &mut Histogram<u64>, work: impl FnOnce() -> T) -> T {
    let began = cpu_ns();
    let result = work();
    *times += (cpu_ns() - began) as u64;
    result
}

/// Prints the checkpoint table for an index of `entries` needles.
pub fn table(entries: u64) {
    let hasher = Hasher::new(SEED);
    let mut index = Index::for_volume(VOLUME);
    for n in 0..entries {
        index.insert(hasher.hash(NeedleId::new(n, 0)), location(n));
    }
    let times = || Histogram::<u64>::new(3).expect("3 significant digits are valid");
    let [mut copy, mut seal, mut verify, mut restore] = [times(), times(), times(), times()];

    let began = cpu_ns();
    let pieces = saved(&index, &mut copy, &mut seal);
    let saved = (cpu_ns() - began) / 1e9;
    let began = cpu_ns();
    let found = restored(&pieces, &mut verify, &mut restore);
    let loaded = (cpu_ns() - began) / 1e9;
    assert_eq!((found.len(), found.figures().slots), (index.len(), index.figures().slots));

    let bytes: usize = pieces.iter().map(Vec::len).sum();
    println!(
        "\nA checkpoint of {} M needles has {:.1} MB in {} pieces, {:.2} bytes per needle. Encoding it takes \
             {saved:.2} s of CPU time, restoring it {loaded:.2} s.\n",
        entries / 1_000_000,
        bytes as f64 / 1e6,
        pieces.len(),
        bytes as f64 / entries as f64,
    );
    println!(
        "| work between which others go on | p50 | p99 | p99.9 | p99.99 | longest | how many |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    row("copy a segment", &copy, copy.len());
    row("sum of a piece", &seal, seal.len());
    row("verify a piece", &verify, verify.len());
    row("restore a segment", &restore, restore.len());
}

/// Encodes the index as checkpoint pieces, like the daemon.
fn saved(index: &Index, copy: &mut Histogram<u64>, seal: &mut Histogram<u64>) -> Vec<Vec<u8>> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    // One reused buffer, as in the daemon: page faults of new buffers are not part of the measurement.
    let mut buf = vec![0; PIECE_LEN_MAX];
    let (mut filled, mut count) = (0, 0);
    loop {
        let part = index.saved_segment(from);
        let len = part.as_ref().map(|part| segment_len(part.buckets().len(), part.len));
        if count > 0 && len.is_none_or(|len| PAYLOAD_AT + filled + len > PIECE_LEN_MAX) {
            let number = pieces.len() as u64 + 1;
            let kind = PieceKind::Segments;
            let sealed =
                timed(seal, || finish_piece(kind, number, count, filled, INCARNATION, &mut buf));
            pieces.push(buf[..sealed.0].to_vec());
            (filled, count) = (0, 0);
        }
        let Some(part) = part else { return pieces };
        filled += timed(copy, || {
            encode_segment(part.prefix, part.depth, part.buckets(), &mut buf[PAYLOAD_AT + filled..])
        });
        (from, count) = (part.next, count + 1);
    }
}

/// Restores an index from checkpoint pieces.
fn restored(
    pieces: &[Vec<u8>],
    verify: &mut Histogram<u64>,
    restore: &mut Histogram<u64>,
) -> Index {
    let mut index = Index::for_volume(VOLUME);
    let mut from = 0;
    for (number, bytes) in (1..).zip(pieces) {
        let piece = timed(verify, || decode_piece(bytes, number, INCARNATION, true));
        let piece = piece.expect("the piece was sealed above");
        let mut rest = piece.payload;
        for _ in 0..piece.count {
            from = timed(restore, || {
                let (segment, behind) =
                    SegmentRecord::decode(rest).expect("the segment was encoded above");
                rest = behind;
                let (prefix, depth) = (segment.prefix, segment.depth);
                let restored = index.restore_segment(from, prefix, depth, segment.buckets());
                restored.expect("segments are restored in order").0
            });
        }
    }
    assert!(index.finish_restore(from), "not all segments were restored");
    index
}
