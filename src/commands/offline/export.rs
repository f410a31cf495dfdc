//! Export of live needles as a tar, in the form of a batch put (`docs/HTTP.md`, "Batches").

use std::io::{self, Read, Write};

use tar::Builder;

use super::directories::Offline;
use super::reader::{Progress, Reader, damage_of};
use super::table::Unlisted;
use crate::base::types::VolumeId;
use crate::commands::export::PhotoEntry;
use crate::runtime::buffer::Buf;
use crate::volume::{Body, LiveNeedle, Needle};

/// Result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Number of photos in the tar.
    pub photos: u64,
    /// Total size of their bodies (bytes).
    pub bytes: u64,
    /// Number of photos, and of volumes, that were left out.
    pub left_out: u64,
}

impl Offline {
    /// Writes a tar with an entry for every live needle of the selected volumes that has not expired. Each
    /// needle is verified completely before its first byte is written. Needles and volumes that cannot be
    /// read are left out, and passed to `left_out`.
    ///
    /// # Errors
    /// The error of the output; or a large body could be verified, but not be read again. The tar is unusable
    /// then.
    pub fn export(
        &mut self,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
        left_out: &mut dyn FnMut(Unlisted),
    ) -> io::Result<ExportSummary> {
        let mut summary = ExportSummary::default();
        let mut tar = Builder::new(out);
        self.each(progress, &mut |reader, volume, next| {
            match (next, reader) {
                // Nobody could read it.
                (Ok(live), _) if live.is_expired => {}
                (Ok(live), Some(reader)) => {
                    summary.photos += 1;
                    summary.bytes += live.needle.body_len;
                    append(&mut tar, reader, volume, live)?;
                }
                (Ok(_), None) => unreachable!("each needle is passed with its reader"),
                (Err(unlisted), _) => {
                    summary.left_out += 1;
                    left_out(unlisted);
                }
            }
            Ok(())
        })?;
        tar.finish()?;
        Ok(summary)
    }
}

fn append(
    tar: &mut Builder<&mut dyn Write>,
    reader: &mut Reader<'_>,
    volume: VolumeId,
    live: LiveNeedle,
) -> io::Result<()> {
    let LiveNeedle { id, cookie, needle, .. } = live;
    let Needle { body_len: size, modified_ns, .. } = needle;
    let stored = needle.stored_attributes().to_vec();
    let entry = PhotoEntry { volume, id, cookie, modified_ns, stored: &stored, size };
    if !needle.is_large {
        return entry.append(tar, &needle.buf[needle.data.clone()]);
    }
    let body = reader.body((id, cookie), needle).map_err(|error| gone(&damage_of(error)))?;
    entry.append(tar, Pieces { reader, body: Some(body), piece: None })
}

fn gone(damage: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!(
        "a large body was read completely before, and cannot be read now ({damage}); check the disk"
    ))
}

/// Reader of a large body. Every byte is verified in this read, too.
struct Pieces<'r, 'e> {
    reader: &'r mut Reader<'e>,
    /// `None` only while a read of it is in flight, or after a read has failed.
    body: Option<Body>,
    /// The buffer of the current piece, and the range in it that was not returned yet.
    piece: Option<(Buf, std::ops::Range<usize>)>,
}

impl Read for Pieces<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.as_ref().is_none_or(|(_, left)| left.is_empty()) {
            self.piece = None;
            let Some(body) = self.body.take_if(|body| body.remaining() > 0) else { return Ok(0) };
            let read = self.reader.read(body);
            let (body, buf, data) = read.map_err(|error| gone(&damage_of(error)))?;
            self.body = Some(body);
            self.piece = Some((buf, data));
        }
        let (buf, left) = self.piece.as_mut().expect("a piece was read above");
        let len = out.len().min(left.len());
        out[..len].copy_from_slice(&buf[left.start..left.start + len]);
        left.start += len;
        Ok(len)
    }
}
