//! Reading a checkpoint. If any part of it is not correct, the whole checkpoint is discarded and the log
//! is read, which contains everything.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{DirId, FileId, Op};
use crate::volume::checkpoint::convert::{damaged_range, log_end};
use crate::volume::error::IoError;
use crate::volume::format::{
    CheckpointFooter, CheckpointHeader, CheckpointPiece, LogPosition, PieceKind, SegmentRecord,
    Superblock, chain, decode_damage, decode_pairs, decode_piece, piece_len,
};
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::contents::Contents;
use crate::volume::log::recover::{RecoveryInput, Saved};
use crate::volume::log::scan::Scanner;
use crate::volume::log::{DamageSource, DamagedRange, LogEnd};
use crate::volume::names::checkpoint_name;

/// Outcome of looking for a checkpoint.
pub enum Loaded {
    /// There is none.
    Absent,
    /// It cannot be used, for this reason.
    Unusable(String),
    /// It can be used; the number is its length (bytes).
    Usable(Box<Saved>, u64),
}

/// Reads the checkpoint of a volume file. A checkpoint that cannot be used is not an error.
pub async fn load(
    handle: &Handle,
    dir: DirId,
    superblock: &Superblock,
    log: &RecoveryInput<'_>,
) -> Loaded {
    let name = checkpoint_name(superblock.volume, superblock.generation);
    let opened = outcome(&handle.submit(Op::Open { dir, name, write: false }).await);
    let number = match opened {
        Ok(number) => u32::try_from(number).expect("a file number"),
        Err(IoError::Errno(nix::libc::ENOENT)) => return Loaded::Absent,
        Err(error) => return Loaded::Unusable(format!("it cannot be opened: {error}")),
    };
    let id = FileId(number);
    let file = VolumeFile::new(handle, id);
    let loaded = load_file(handle, id, &file, superblock, log).await;
    file.close().await;
    loaded
}

async fn load_file(
    handle: &Handle,
    id: FileId,
    file: &VolumeFile,
    superblock: &Superblock,
    log: &RecoveryInput<'_>,
) -> Loaded {
    let len = outcome(&handle.submit(Op::FileLen { file: id }).await).unwrap_or(0);
    let buf = log.memory.take();
    let mut reader = Reader { file, len: len / BLOCK * BLOCK, buf, start: 0, end: 0 };
    let read = read_all(handle, &mut reader, superblock, log).await;
    log.memory.set(reader.buf.take());
    let (mut saved, len) = match read {
        Ok(read) => read,
        Err(why) => return Loaded::Unusable(why),
    };
    let mut scanner = Scanner::new(log.file, log.memory, log.incarnation, log.log_end);
    for end in [saved.covers, saved.reached] {
        match scanner.record(end.record_at).await {
            Some((record, sum)) if is_of(&end, record.sequence, record.len, sum) => {
                if end == saved.covers {
                    saved.epoch = record.epoch;
                }
            }
            _ if chosen(Sabotage::CheckpointBeforeLog) => {}
            _ => {
                let why = format!(
                    "it says that commit {} ends at byte {} of the log, but the log does not",
                    end.sequence, end.tail
                );
                return Loaded::Unusable(why);
            }
        }
    }
    Loaded::Usable(Box::new(saved), len)
}

fn is_of(end: &LogEnd, sequence: u64, len: u64, sum: u64) -> bool {
    sequence == end.sequence && end.record_at + len == end.tail && sum == end.record_checksum
}

/// Returns the reason if a checkpoint belongs to another file or another build.
fn foreign_reason(
    header: &CheckpointHeader,
    superblock: &Superblock,
    fingerprint: [u32; 8],
) -> Option<&'static str> {
    if chosen(Sabotage::IgnoreCheckpointFile) {
        return None;
    }
    if (header.store, header.volume) != (superblock.store, superblock.volume.0) {
        return Some("it belongs to another volume");
    }
    let file = (superblock.generation, superblock.incarnation, superblock.size);
    if (header.generation, header.incarnation, header.size) != file {
        return Some("it belongs to another volume file");
    }
    if header.hash_seed != superblock.hash_seed || header.layout != fingerprint {
        return Some("it belongs to an index of another layout");
    }
    None
}

async fn read_all(
    handle: &Handle,
    reader: &mut Reader<'_>,
    superblock: &Superblock,
    log: &RecoveryInput<'_>,
) -> Result<(Saved, u64), String> {
    let first = reader.view(0, BLOCK).await?;
    let (header, sum) = CheckpointHeader::decode(first).ok_or("its header is damaged")?;
    let contents = Contents::new(log.index());
    let fingerprint = contents.index().layout_fingerprint(&log.hasher);
    if let Some(why) = foreign_reason(&header, superblock, fingerprint) {
        return Err(why.to_owned());
    }
    let incarnation = header.incarnation;
    let mut restoring = Restoring {
        contents,
        log_end: log.log_end,
        stash: Vec::new(),
        damage: Vec::new(),
        from: 0,
        end: 0,
        segments: 0,
        entries: 0,
        parts: 0,
        last: PieceKind::Header,
    };
    let (mut at, mut sums) = (BLOCK, chain(0, sum));
    for number in 1.. {
        let damaged = || format!("the piece at byte {at} is damaged");
        let len = piece_len(reader.view(at, BLOCK).await?).ok_or_else(damaged)? as u64;
        let bytes = reader.view(at, len).await?;
        let verified = !chosen(Sabotage::SkipCheckpointChecksum);
        let piece = decode_piece(bytes, number, incarnation, verified).ok_or_else(damaged)?;
        if piece.kind == PieceKind::Footer {
            let footer = CheckpointFooter::decode(piece.payload).ok_or_else(damaged)?;
            let whole = footer.len == at + len && (footer.sums == sums || !verified);
            let covers = header.covers;
            let saved = restoring.finish(covers, footer).filter(|_| whole);
            let saved = saved.ok_or("it is incomplete")?;
            return Ok((saved, at + len));
        }
        restoring.take(handle, &piece).await.ok_or_else(damaged)?;
        (at, sums) = (at + len, chain(sums, piece.sum));
    }
    unreachable!("the loop returns at the footer or at the end of the file")
}

/// State restored so far.
struct Restoring {
    contents: Contents,
    log_end: u64,
    stash: Vec<(u64, u64)>,
    damage: Vec<DamagedRange>,
    /// First hash of the next segment.
    from: u64,
    /// End of the last needle (bytes).
    end: u64,
    segments: u64,
    entries: u64,
    parts: u64,
    last: PieceKind,
}

impl Restoring {
    /// Applies a piece. Returns `None` if it is not correct. Yields to other tasks in between.
    async fn take(&mut self, handle: &Handle, piece: &CheckpointPiece<'_>) -> Option<()> {
        handle.yield_now().await;
        if (piece.kind as u32) < self.last as u32 {
            return None;
        }
        self.last = piece.kind;
        match piece.kind {
            PieceKind::Header | PieceKind::Footer => return None,
            PieceKind::Stash => self.stash.extend(decode_pairs(piece.payload, piece.count)?),
            PieceKind::Segments => {
                let mut rest = piece.payload;
                for _ in 0..piece.count {
                    let (segment, behind) = SegmentRecord::decode(rest)?;
                    self.take_segment(segment)?;
                    rest = behind;
                    handle.yield_now().await;
                }
                return rest.is_empty().then_some(());
            }
            PieceKind::Parts => {
                for (manifest, len) in decode_pairs(piece.payload, piece.count)? {
                    self.contents.restore_parts(manifest, len.min(self.log_end));
                }
                self.parts += u64::from(piece.count);
            }
            PieceKind::Damage => {
                let places = decode_damage(piece.payload, piece.count)?;
                self.damage.extend(places.map(damaged_range));
            }
        }
        Some(())
    }

    fn take_segment(&mut self, segment: SegmentRecord<'_>) -> Option<()> {
        let index = self.contents.index_mut();
        let (prefix, depth) = (segment.prefix, segment.depth);
        let (next, extent) = index.restore_segment(self.from, prefix, depth, segment.buckets())?;
        self.from = next;
        self.end = self.end.max(extent.end);
        self.segments += 1;
        self.entries += u64::from(segment.len);
        self.contents.account(extent.len);
        (self.end <= self.log_end).then_some(())
    }

    /// Completes the restoring. Returns `None` if something is missing or does not agree.
    fn finish(mut self, covers: LogPosition, footer: CheckpointFooter) -> Option<Saved> {
        let reached = footer.reached;
        let fits = covers.fits(self.log_end)
            && reached.fits(self.log_end)
            && covers.tail <= reached.tail
            && covers.sequence <= reached.sequence;
        let counts = (self.stash.len() as u64, self.segments, self.entries, self.parts);
        let wanted = (footer.stash, footer.segments, footer.entries, footer.parts);
        let whole = counts == wanted && self.damage.len() as u64 == footer.damage;
        if !fits || !whole || !self.contents.index_mut().finish_restore(self.from) {
            return None;
        }
        for (hash, entry) in self.stash {
            // An entry that moved into the table after the stash was written is already present.
            if let Some(at) = self.contents.index_mut().restore_stashed(hash, entry) {
                self.contents.account(at.len);
                self.end = self.end.max(at.offset + at.len);
            }
        }
        // Each of them is in the index by now, or its record is replayed.
        for lost in self.damage.extract_if(.., |range| range.source == DamageSource::Loss) {
            self.contents.note_loss(lost.at, lost.id);
        }
        let late = chosen(Sabotage::CheckpointTailTooLate);
        let covers = log_end(if late { reached } else { covers });
        let (contents, damage, reached) = (self.contents, self.damage, log_end(reached));
        let saved = Saved { contents, damage, covers, reached, epoch: 0 };
        (self.end <= reached.tail).then_some(saved)
    }
}

/// A window that slides over the checkpoint file.
struct Reader<'a> {
    file: &'a VolumeFile,
    /// Length of the file, rounded down to whole blocks (bytes).
    len: u64,
    buf: Option<Buf>,
    /// The window holds bytes `start..end` of the file.
    start: u64,
    end: u64,
}

impl Reader<'_> {
    /// Returns bytes `at..at + len` of the file.
    async fn view(&mut self, at: u64, len: u64) -> Result<&[u8], String> {
        if at + len > self.len {
            return Err("it ends too early".to_owned());
        }
        if at < self.start || at + len > self.end {
            let buf = self.buf.take().ok_or("it could not be read")?;
            (self.start, self.end) = (at, (at + buf.len() as u64).min(self.len));
            let wanted = to_usize(self.end - at);
            let reads = &self.file.stats.other_reads;
            let (buf, read) = self.file.read(buf, 0, wanted, at, reads).await;
            self.buf = Some(buf);
            if let Err(error) = read {
                self.end = self.start;
                return Err(format!("it cannot be read: {error}"));
            }
        }
        let from = to_usize(at - self.start);
        let buf = self.buf.as_ref().ok_or("it could not be read")?;
        Ok(&buf[from..from + to_usize(len)])
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside the window")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{NeedleId, VolumeId};
    use crate::volume::index::{Hasher, Index};
    use crate::volume::{Location, SuperblockState};

    fn superblock() -> Superblock {
        Superblock {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            volume: VolumeId(7),
            incarnation: 11,
            parent: 0,
            generation: 3,
            state: SuperblockState::Live,
            size: 1 << 30,
            unit: 512,
            chunk: 65_536,
            hash_seed: 42,
            store: [1; 16],
            created_ns: 0,
            revision: 1,
            history_from: 0,
        }
    }

    #[test]
    fn checkpoint_of_another_volume_file_or_layout_is_rejected() {
        let fingerprint = [1; 8];
        let end =
            LogPosition { record_at: 0, tail: 0, sequence: 0, record_checksum: 0, version: 0 };
        let header = CheckpointHeader {
            store: [1; 16],
            volume: 7,
            generation: 3,
            incarnation: 11,
            size: 1 << 30,
            hash_seed: 42,
            layout: fingerprint,
            covers: end,
            written_ns: 0,
        };
        let why = |header: CheckpointHeader| foreign_reason(&header, &superblock(), fingerprint);
        assert_eq!(why(header), None);
        let volume = Some("it belongs to another volume");
        assert_eq!(why(CheckpointHeader { store: [2; 16], ..header }), volume);
        assert_eq!(why(CheckpointHeader { volume: 8, ..header }), volume);
        let file = Some("it belongs to another volume file");
        assert_eq!(why(CheckpointHeader { generation: 4, ..header }), file);
        assert_eq!(why(CheckpointHeader { incarnation: 12, ..header }), file);
        assert_eq!(why(CheckpointHeader { size: 1 << 31, ..header }), file);
        let index = Some("it belongs to an index of another layout");
        assert_eq!(why(CheckpointHeader { hash_seed: 43, ..header }), index);
        assert_eq!(why(CheckpointHeader { layout: [2; 8], ..header }), index);
    }
    #[test]
    fn a_position_is_that_of_a_record_only_if_every_field_agrees() {
        let end =
            LogEnd { record_at: 65_536, tail: 69_632, sequence: 5, record_checksum: 9, version: 1 };
        assert!(is_of(&end, 5, 4096, 9));
        assert!(!is_of(&end, 6, 4096, 9) && !is_of(&end, 4, 4096, 9));
        assert!(!is_of(&end, 5, 8192, 9));
        assert!(!is_of(&end, 5, 4096, 8));
        assert!(is_of(&LogEnd { record_at: 61_440, ..end }, 5, 8192, 9));
    }

    const LOG_END: u64 = 1 << 30;

    fn position(tail: u64, sequence: u64) -> LogPosition {
        LogPosition { record_at: tail - 4096, tail, sequence, record_checksum: 1, version: 1 }
    }

    /// A restoring with a damaged range, a manifest with parts, and all segments of an index; and the footer
    /// that belongs to it.
    fn restoring() -> (Restoring, CheckpointFooter) {
        let mut saved = Contents::new(Index::for_volume(LOG_END));
        for n in 0..16 {
            let hash = Hasher::new(1).hash(NeedleId::new(n, 1));
            saved.insert(hash, Location { offset: 66_048 + n * 512, len: 512 }, 0);
        }
        let mut restoring = Restoring {
            contents: Contents::new(Index::for_volume(LOG_END)),
            log_end: LOG_END,
            stash: Vec::new(),
            damage: vec![DamagedRange::of_file(Location { offset: 65_536, len: 512 }, None)],
            from: 0,
            end: 81_920,
            segments: 0,
            entries: 3,
            parts: 1,
            last: PieceKind::Damage,
        };
        while let Some(segment) = saved.index().saved_segment(restoring.from) {
            let (prefix, depth, from) = (segment.prefix, segment.depth, restoring.from);
            let restored = restoring.contents.index_mut();
            let buckets = segment.buckets();
            restoring.from = restored.restore_segment(from, prefix, depth, buckets).unwrap().0;
            restoring.segments += 1;
        }
        let footer = CheckpointFooter {
            reached: position(81_920, 7),
            stash: 0,
            segments: restoring.segments,
            entries: 3,
            parts: 1,
            damage: 1,
            len: 0,
            sums: 0,
        };
        (restoring, footer)
    }

    #[test]
    fn a_checkpoint_is_complete_only_if_all_totals_agree() {
        let finish = |change: fn(&mut CheckpointFooter)| {
            let (restoring, mut footer) = restoring();
            change(&mut footer);
            restoring.finish(position(77_824, 6), footer).is_some()
        };
        assert!(finish(|_| ()));
        assert!(!finish(|footer| footer.stash += 1));
        assert!(!finish(|footer| footer.segments += 1));
        assert!(!finish(|footer| footer.entries -= 1));
        assert!(!finish(|footer| footer.parts += 1));
        assert!(!finish(|footer| footer.damage -= 1));
        let (mut restoring, footer) = restoring();
        assert_ne!((restoring.segments, restoring.from), (0, 0));
        restoring.from = 0;
        assert!(restoring.finish(position(77_824, 6), footer).is_none(), "segments are missing");
    }

    #[test]
    fn positions_of_a_checkpoint_are_in_order_and_inside_the_log() {
        let finish = |covers, reached| {
            let (restoring, footer) = restoring();
            restoring.finish(covers, CheckpointFooter { reached, ..footer }).is_some()
        };
        assert!(finish(position(81_920, 7), position(81_920, 7)), "nothing was written meanwhile");
        assert!(!finish(position(86_016, 7), position(81_920, 7)), "covers is after reached");
        assert!(!finish(position(81_920, 8), position(81_920, 7)));
        assert!(finish(position(LOG_END, 7), position(LOG_END, 7)));
        assert!(!finish(position(81_920, 7), position(LOG_END + 4096, 7)), "after the log");
        assert!(!finish(position(65_536, 7), position(81_920, 7)), "before the log");
        assert!(!finish(position(77_824, 6), position(77_824, 7)), "a needle is after reached");
    }
}
