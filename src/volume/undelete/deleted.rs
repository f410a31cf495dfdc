//! The deleted needle: where it is, and whether each of its bytes is as it was written.

use super::ended_early::EndedEarly;
use super::not_undeleted::NotUndeleted;
use super::sought::Newest;
use crate::base::limits::{CHUNK, LOG_START, UNIT};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::{
    Kind, Manifest, NeedleHeader, NeedleLayout, PartEntry, data_checksum, decode_header,
};
use crate::volume::index::Location;
use crate::volume::object::expiry::is_expired_at;
use crate::volume::object::restore::accepts;
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::steps::Steps;

const CHUNK_LEN: usize = CHUNK as usize;

/// Reads the needle of a photo that was deleted last, and its parts. Returns where it is, if all of it can be
/// taken back. `oldest` is the version of the oldest deletion that is undone.
///
/// # Errors
/// [`EndedEarly`].
pub(super) async fn verify_deleted(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    photo: (NeedleId, Cookie),
    newest: Newest,
    oldest: u64,
) -> Result<Location, EndedEarly> {
    let tombstone = match newest {
        Newest::Deletion(tombstone) => tombstone,
        Newest::DamagedDeletion => return Err(NotUndeleted::Damaged.into()),
        Newest::Object => return Err(NotUndeleted::NotFound.into()),
    };
    if tombstone.version < oldest {
        return Err(NotUndeleted::TooOld.into());
    }
    if tombstone.previous == 0 {
        // An offset of the file in which it was deleted: a compaction keeps none.
        return Err(NotUndeleted::Compacted.into());
    }
    let (header, at) = read_header(examiner, photo, tombstone.previous).await?;
    if is_expired_at(&header, steps.handle.wall()) {
        return Err(NotUndeleted::Expired.into());
    }
    let manifest = verify_needle(examiner, &header, at).await?;
    steps.end(examiner.reader.bytes_read).await?;
    if let Some((parts, sums)) = manifest {
        let mut first = 0;
        for part in parts {
            let of_part = &sums[first..first + part.chunks()];
            first += part.chunks();
            verify_part(examiner, part, of_part).await?;
            steps.end(examiner.reader.bytes_read).await?;
        }
    }
    Ok(at)
}

/// Returns the header of the object at `offset`.
async fn read_header(
    examiner: &mut Examiner<'_>,
    photo: (NeedleId, Cookie),
    offset: u64,
) -> Result<(NeedleHeader, Location), NotUndeleted> {
    let is_possible = offset >= LOG_START && offset.is_multiple_of(UNIT);
    if !is_possible || offset.saturating_add(UNIT) > examiner.to {
        return Err(NotUndeleted::Damaged);
    }
    examiner.fill(offset, UNIT).await;
    let mut header = header_at(examiner, photo, offset);
    if header.is_none() {
        examiner.fill_again(offset, UNIT).await;
        header = header_at(examiner, photo, offset);
    }
    let header = header.ok_or(NotUndeleted::Damaged)?;
    Ok((header, Location { offset, len: header.layout().len as u64 }))
}

fn header_at(
    examiner: &mut Examiner<'_>,
    (id, cookie): (NeedleId, Cookie),
    offset: u64,
) -> Option<NeedleHeader> {
    let incarnation = examiner.volume.superblock.incarnation;
    let to = examiner.to;
    let (header, back) = decode_header(examiner.reader.bytes(offset, UNIT), incarnation, offset)?;
    let is_object = matches!(header.kind, Kind::Data | Kind::Manifest) && back == 0;
    let is_sought = header.id == id && header.cookie.matches(cookie);
    let is_inside = offset + header.layout().len as u64 <= to;
    (is_object && is_sought && is_inside).then_some(header)
}

/// Verifies the needle. Returns its parts and the checksums of their chunks, if it is a manifest.
async fn verify_needle(
    examiner: &mut Examiner<'_>,
    header: &NeedleHeader,
    at: Location,
) -> Result<Option<(Vec<PartEntry>, Vec<u64>)>, NotUndeleted> {
    examiner.fill(at.offset, at.len).await;
    if !is_whole(examiner, header, at) {
        examiner.fill_again(at.offset, at.len).await;
        if !accepts(is_whole(examiner, header, at)) {
            return Err(NotUndeleted::Damaged);
        }
    }
    if header.kind != Kind::Manifest {
        return Ok(None);
    }
    let log_end = examiner.volume.superblock.log_end();
    let data = &examiner.reader.bytes(at.offset, at.len)[header.layout().data_range()];
    let manifest = Manifest::decode(data).filter(|it| it.is_sound(header.body_len, log_end));
    let manifest = manifest.ok_or(NotUndeleted::Damaged)?;
    let parts: Vec<PartEntry> = (0..manifest.len()).map(|n| manifest.part(n)).collect();
    let chunks = parts.iter().map(PartEntry::chunks).sum();
    let sums = (0..chunks).map(|n| manifest.sum(n)).collect();
    Ok(Some((parts, sums)))
}

fn is_whole(examiner: &mut Examiner<'_>, header: &NeedleHeader, at: Location) -> bool {
    let volume = examiner.volume;
    volume.is_whole(examiner.reader.bytes(at.offset, at.len), header)
}

/// Verifies the chunks of a part against the checksums in the manifest, as a reader would.
async fn verify_part(
    examiner: &mut Examiner<'_>,
    part: PartEntry,
    sums: &[u64],
) -> Result<(), NotUndeleted> {
    let layout = NeedleLayout::data(0, part.len as usize);
    let len = layout.len as u64;
    if part.offset.saturating_add(len) > examiner.to {
        return Err(NotUndeleted::Damaged);
    }
    let is_intact = |examiner: &mut Examiner<'_>| {
        let data = &examiner.reader.bytes(part.offset, len)[layout.data_range()];
        data.chunks(CHUNK_LEN).map(data_checksum).eq(sums.iter().copied())
    };
    examiner.fill(part.offset, len).await;
    if !is_intact(examiner) {
        examiner.fill_again(part.offset, len).await;
        if !accepts(is_intact(examiner)) {
            return Err(NotUndeleted::Damaged);
        }
    }
    Ok(())
}
