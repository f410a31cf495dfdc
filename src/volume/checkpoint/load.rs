//! Reading a checkpoint. If any part of it is not correct, the whole checkpoint is discarded and the log
//! is read, which contains everything.

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::op::{DirId, FileId, Op};
use crate::volume::checkpoint::reader::Reader;
use crate::volume::checkpoint::restoring::Restoring;
use crate::volume::error::IoError;
use crate::volume::format::{
    CheckpointFooter, CheckpointHeader, PieceKind, Superblock, chain, decode_piece,
    other_checkpoint_version, piece_len,
};
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::LogEnd;
use crate::volume::log::contents::Contents;
use crate::volume::log::recover::{RecoveryInput, Saved};
use crate::volume::log::scan::Scanner;
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
    let mut reader = Reader::new(file, len, buf);
    let read = read_all(handle, &mut reader, superblock, log).await;
    log.memory.set(reader.into_buf());
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

/// Returns the reason if a checkpoint has no header that this build reads.
fn header_reason(first: &[u8]) -> String {
    match other_checkpoint_version(first) {
        Some(version) => format!("it has format version {version}, which this build does not read"),
        None => "its header is damaged".to_owned(),
    }
}

async fn read_all(
    handle: &Handle,
    reader: &mut Reader<'_>,
    superblock: &Superblock,
    log: &RecoveryInput<'_>,
) -> Result<(Saved, u64), String> {
    let first = reader.view(0, BLOCK).await?;
    let (header, sum) = CheckpointHeader::decode(first).ok_or_else(|| header_reason(first))?;
    let contents = Contents::new(log.index());
    let fingerprint = contents.index().layout_fingerprint(&log.hasher);
    if let Some(why) = foreign_reason(&header, superblock, fingerprint) {
        return Err(why.to_owned());
    }
    let incarnation = header.incarnation;
    let mut restoring = Restoring::new(contents, log.log_end);
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
            // The cluster must never assign a key twice.
            if superblock.cluster.is_some() && !restoring.has_key_max() {
                return Err("it lacks the highest key".to_owned());
            }
            let saved = restoring.finish(covers, footer).filter(|_| whole);
            let saved = saved.ok_or("it is incomplete")?;
            return Ok((saved, at + len));
        }
        restoring.take(handle, &piece).await.ok_or_else(damaged)?;
        (at, sums) = (at + len, chain(sums, piece.sum));
    }
    unreachable!("the loop returns at the footer or at the end of the file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::VolumeId;
    use crate::volume::SuperblockState;
    use crate::volume::format::{LogPosition, finish_piece};
    use crate::volume::tests::rig::Rig;

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
            verified_ns: 0,
            replica: None,
            cluster: None,
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

    /// A piece of an earlier checkpoint of the same file would be like this.
    #[test]
    fn piece_that_is_whole_but_not_the_one_that_was_written_is_rejected() {
        let (mut rig, slot) = Rig::with_volume();
        for n in 1..=20 {
            rig.put(&slot, n);
        }
        let incarnation = slot.volume().superblock.incarnation;
        let image = rig.close(&slot);
        for change in [0, 1] {
            let mut image = image.clone();
            let changed = image.edit("1.0.ckpt", |bytes| {
                let (mut at, mut number, mut changed) = (BLOCK as usize, 1, 0);
                while let Some(piece) = decode_piece(&bytes[at..], number, incarnation, true) {
                    let (kind, count, len) = (piece.kind, piece.count, piece.payload.len());
                    let bytes = &mut bytes[at..];
                    if kind == PieceKind::Properties {
                        let key_max = bytes.windows(4).position(|head| head == [2, 0, 8, 0]);
                        bytes[key_max.unwrap() + 4] += change;
                        changed += 1;
                        finish_piece(kind, number, count, len, incarnation, bytes);
                    }
                    at += piece_len(bytes).unwrap();
                    number += 1;
                }
                changed
            });
            assert_eq!(changed, 1);
            let mut rig = Rig::new(&image);
            let slot = rig.open();
            let figures = slot.volume().figures();
            assert_eq!((figures.key_max, figures.needles), (20, 20));
            assert_eq!(figures.checkpoint.discarded, u64::from(change));
        }
    }
}
