//! Table of the live needles of volumes.

use std::io;

use serde::Serialize;

use super::check::unopened_text;
use super::cluster_row::ClusterRow;
use super::directories::Offline;
use super::escaped::escaped;
use super::location::VolumeLocation;
use super::picked::Picked;
use super::reader::{Progress, Reader};
use crate::base::calendar::rfc3339_nanos;
use crate::base::types::VolumeId;
use crate::volume::{DamagedNeedle, LiveNeedle, OpenError};

/// Row of a live needle that was read and verified completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Volume.
    pub volume: VolumeId,
    /// Offset in its file (bytes).
    pub offset: u64,
    /// Length in the file (bytes); for a large body that of the manifest, without the parts.
    pub length: u64,
    /// Photo id.
    pub key: u64,
    /// Size variant.
    pub alt: u32,
    /// Cookie: 16 hex digits. Absent if cookies are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// `needle`, or `large` for a body in parts.
    pub kind: &'static str,
    /// Length of the body (bytes).
    pub size: u64,
    /// Content type as stored, [`escaped`].
    pub content_type: Option<String>,
    /// Time of modification: RFC 3339, in UTC.
    pub modified: String,
    /// Version: of several needles with the same key and alt, the one with the highest version is live.
    pub version: u64,
    /// Entity tag: 16 hex digits.
    pub etag: String,
    /// Time of expiry: RFC 3339, in UTC; null if it does not expire. A needle that has expired is listed.
    pub expires: Option<String>,
    /// What a cluster stores with it; absent if there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterRow>,
}

/// A needle or volume that could not be read, and why. It contains no cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlisted {
    /// Volume.
    pub volume: VolumeId,
    /// Offset in its file (bytes); absent if it is the whole volume.
    pub offset: Option<u64>,
    /// Photo id, if it is known.
    pub key: Option<u64>,
    /// Size variant, if it is known.
    pub alt: Option<u32>,
    /// Description of the damage; for a whole volume, with advice.
    pub damage: String,
}

impl Unlisted {
    pub(super) fn volume(volume: VolumeId, damage: String) -> Self {
        Self { volume, offset: None, key: None, alt: None, damage }
    }

    pub(super) fn needle(volume: VolumeId, damaged: &DamagedNeedle) -> Self {
        Self {
            volume,
            offset: Some(damaged.at.offset),
            key: damaged.id.map(|id| id.key.0),
            alt: damaged.id.map(|id| id.alt.0),
            damage: damaged.damage.to_string(),
        }
    }
}

impl Row {
    fn new(volume: VolumeId, live: &LiveNeedle, cookies: bool) -> Self {
        let LiveNeedle { at, id, cookie, version, needle, .. } = live;
        Self {
            volume,
            offset: at.offset,
            length: at.len,
            key: id.key.0,
            alt: id.alt.0,
            cookie: cookies.then(|| format!("{:016x}", cookie.0)),
            kind: if needle.is_large { "large" } else { "needle" },
            size: needle.body_len,
            content_type: needle.content_type().map(escaped),
            modified: rfc3339_nanos(needle.modified_ns),
            version: *version,
            etag: format!("{:016x}", needle.etag),
            expires: needle.expires_ns.map(rfc3339_nanos),
            cluster: ClusterRow::of(&needle.attributes()),
        }
    }
}

impl Offline {
    /// Reads and verifies every live needle of the selected volumes, in the order of the files, and passes a
    /// row for each to `sink`, or a description of its damage. Rows contain cookies only if `cookies` is set.
    /// Returns whether everything could be listed.
    ///
    /// # Errors
    /// The first error that `sink` returns; it ends the work.
    pub fn table(
        &mut self,
        cookies: bool,
        progress: &mut dyn FnMut(Progress),
        sink: &mut dyn FnMut(Result<Row, Unlisted>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut whole = true;
        self.each(progress, &mut |_, volume, next| {
            whole &= next.is_ok();
            sink(next.map(|live| Row::new(volume, &live, cookies)))
        })?;
        Ok(whole)
    }

    /// Passes every live needle of the selected volumes to `sink`, and a description of each needle or volume
    /// that cannot be read.
    pub(super) fn each(
        &mut self,
        progress: &mut dyn FnMut(Progress),
        sink: &mut Sink<'_>,
    ) -> io::Result<()> {
        for (id, picked) in self.volumes.clone() {
            let place = match picked {
                Picked::File(place, _) => place,
                Picked::Nothing(_) => continue,
                Picked::Undecided(why) => {
                    sink(None, id, Err(Unlisted::volume(id, why)))?;
                    continue;
                }
            };
            progress(Progress { volume: id, done: 0, total: None });
            if let Err(error) = self.each_of(&place, progress, sink)? {
                sink(None, id, Err(Unlisted::volume(id, unopened_text(&place, &error))))?;
            }
        }
        Ok(())
    }

    fn each_of(
        &mut self,
        place: &VolumeLocation,
        progress: &mut dyn FnMut(Progress),
        sink: &mut Sink<'_>,
    ) -> io::Result<Result<(), OpenError>> {
        let id = place.file.id;
        let mut reader = match Reader::open(&mut self.executor, place) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        while let Some(next) = reader.next() {
            let next = next.map_err(|damaged| Unlisted::needle(id, &damaged));
            sink(Some(&mut reader), id, next)?;
            progress(reader.progress());
        }
        reader.close();
        Ok(Ok(()))
    }
}

/// A live needle, or why a needle or volume cannot be listed.
type Listed = Result<LiveNeedle, Unlisted>;

/// Receives the results of [`Offline::each`]: the reader of the volume (`None` if it could not be opened),
/// its number, and the needle or its damage.
pub(super) type Sink<'s> =
    dyn FnMut(Option<&mut Reader<'_>>, VolumeId, Listed) -> io::Result<()> + 's;
