//! Reading the new generation back from the device before the old one is removed.

use std::rc::Rc;

use super::not_compacted::NotCompacted;
use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::BackgroundRun;
use crate::volume::Volume;
use crate::volume::format::{
    COMMIT_RECORD_LEN, CommitRecord, decode_header, verify_data, verify_meta,
};
use crate::volume::log::LogEnd;
use crate::volume::log::log_reader::LogReader;

/// Verifies the log of the new generation from `from` to `to`, commit by commit. Returns the number of
/// needles that do not match their checksums: those that did not match in the old generation either.
///
/// # Errors
/// [`NotCompacted::ReadBack`], [`NotCompacted::Unreadable`], [`NotCompacted::Stopped`].
pub async fn read_back(
    new: &Rc<Volume>,
    reader: &mut LogReader,
    run: &mut BackgroundRun<'_>,
    (from, to): (LogEnd, LogEnd),
) -> Result<u64, NotCompacted> {
    if chosen(Sabotage::SkipReadBack) {
        return Ok(0);
    }
    let (incarnation, limit) = (new.superblock.incarnation, to.tail);
    let (mut at, mut last, mut damaged) = (from.tail, from, 0);
    while at < limit {
        let wrong = NotCompacted::ReadBack(at);
        let len = (2 * COMMIT_RECORD_LEN as u64).min(limit - at);
        reader.fill(at, len, limit).await?;
        let record =
            CommitRecord::decode(reader.bytes(at, len), incarnation, at, new.superblock.log_end());
        let Some((record, checksum)) = record else { return Err(wrong) };
        let chains =
            record.sequence == last.sequence + 1 && record.previous == last.record_checksum;
        if !chains {
            return Err(wrong);
        }
        let mut needle_at = at + UNIT;
        for ordinal in 0..record.needles {
            reader.fill(needle_at, UNIT, limit).await?;
            let unit = reader.bytes(needle_at, UNIT);
            let Some((header, 0)) = decode_header(unit, incarnation, needle_at) else {
                return Err(NotCompacted::ReadBack(needle_at));
            };
            let len = header.layout().len as u64;
            if header.ordinal != ordinal || needle_at + len > at + record.len {
                return Err(NotCompacted::ReadBack(needle_at));
            }
            reader.fill(needle_at, len, limit).await?;
            let needle = reader.bytes(needle_at, len);
            let is_whole = verify_meta(needle, &header, incarnation).is_ok()
                && verify_data(needle, &header).is_ok();
            damaged += u64::from(!is_whole);
            needle_at += len;
        }
        last = LogEnd { sequence: record.sequence, record_checksum: checksum, ..last };
        at += record.len;
        run.end_step(record.len).await?;
    }
    if last.record_checksum == to.record_checksum {
        Ok(damaged)
    } else {
        Err(NotCompacted::ReadBack(at))
    }
}
