//! GET and HEAD. Reads never wait for an exchange of the generation: a read in flight ends on the file that
//! it began on.

use std::ops::Range;

use super::slot::Slot;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::buffer::Buf;
use crate::volume::error::{BodyError, GetError};
use crate::volume::object::body::Body;
use crate::volume::object::description::NeedleDescription;
use crate::volume::object::read::Needle;

impl Slot {
    /// Reads a whole needle. `buffer` returns a buffer of at least the requested length (bytes), or `None`.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(
        &self,
        id: NeedleId,
        cookie: Cookie,
        mut buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        loop {
            let volume = self.volume();
            let found = volume.get(id, cookie, &mut buffer).await;
            // An index that was replaced during the read no longer tells what exists.
            if found.is_ok() || self.is_current(&volume) {
                self.note_unreadable(&found);
                return found;
            }
        }
    }

    /// Has what is near to a needle read that cannot be read.
    fn note_unreadable(&self, found: &Result<Needle, GetError>) {
        if let Err(GetError::Unreadable(id, _)) = found {
            let volume = self.volume();
            let hash = volume.hasher.hash(*id);
            let candidate = volume.contents.borrow().index().newest_below(hash, u64::MAX);
            if let Some(at) = candidate {
                self.scrub.suspect(at.offset);
            }
        }
    }

    /// Reads the part of a needle that a HEAD needs.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn head(
        &self,
        id: NeedleId,
        cookie: Cookie,
        mut buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        loop {
            let volume = self.volume();
            let found = volume.head(id, cookie, &mut buffer).await;
            if found.is_ok() || self.is_current(&volume) {
                self.note_unreadable(&found);
                return found;
            }
        }
    }

    /// Returns everything but the body of a needle. It need not have a cookie.
    ///
    /// # Errors
    /// See [`GetError`]. [`GetError::NeedBuffer`] if the pool has no buffer.
    pub async fn describe(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
    ) -> Result<NeedleDescription, GetError> {
        loop {
            let volume = self.volume();
            let alloc = |len| self.handle.pool().alloc(len);
            let found = match cookie {
                Some(cookie) => volume.head(id, cookie, alloc).await,
                None => volume.head_without_cookie(id, alloc).await,
            };
            if found.is_ok() || self.is_current(&volume) {
                self.note_unreadable(&found);
                return found.map(|needle| NeedleDescription::of(&needle));
            }
        }
    }

    /// Opens bytes `range` of the body of `id`, which `manifest` represents. The manifest may be of an
    /// earlier generation.
    ///
    /// # Errors
    /// As [`Self::read_body`].
    pub async fn body(
        &self,
        (id, cookie): (NeedleId, Cookie),
        manifest: Needle,
        range: Range<u64>,
    ) -> Result<Body, BodyError> {
        let mut manifest = manifest;
        loop {
            let volume = self.volume();
            if manifest.incarnation == volume.superblock.incarnation {
                return Ok(volume.body(id, cookie, manifest, range)?);
            }
            manifest = self.read_again(id, cookie, manifest).await?;
        }
    }

    /// Reads the next bytes of a body, as [`Volume::read_body`] does. If the generation was exchanged since
    /// the last piece, the body continues in the current one.
    ///
    /// # Errors
    /// See [`BodyError`].
    ///
    /// # Panics
    /// As [`Volume::read_body`].
    ///
    /// [`Volume::read_body`]: crate::volume::Volume::read_body
    pub async fn read_body(
        &self,
        body: &mut Body,
        buf: Buf,
    ) -> Result<(Buf, Range<usize>), BodyError> {
        loop {
            let volume = self.volume();
            let is_current = body.incarnation() == volume.superblock.incarnation;
            if is_current || chosen(Sabotage::OldOffsetsInNewFile) {
                return Ok(volume.read_body(body, buf).await?);
            }
            let (id, cookie) = body.name();
            let manifest = self.read_again(id, cookie, body.take_manifest()).await?;
            body.replace_manifest(manifest);
        }
    }

    /// Reads the manifest of an object in the current generation, into the buffer of the one of an earlier
    /// generation.
    async fn read_again(
        &self,
        id: NeedleId,
        cookie: Cookie,
        earlier: Needle,
    ) -> Result<Needle, BodyError> {
        let Needle { buf, etag, .. } = earlier;
        // It has the same length in every generation.
        let mut buf = Some(buf);
        let buffer = |len: usize| buf.take().filter(|buf| buf.len() >= len);
        match self.get(id, cookie, buffer).await {
            Ok(manifest) if manifest.is_large && manifest.etag == etag => Ok(manifest),
            Ok(_) | Err(GetError::NotFound | GetError::NeedBuffer(_)) => Err(BodyError::Changed),
            Err(error) => Err(error.into()),
        }
    }
}
