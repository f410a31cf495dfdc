//! Reader of a volume, needle by needle.

use std::ops::Range;
use std::rc::Rc;

use super::executor::Executor;
use super::location::VolumeLocation;
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::runtime::buffer::Buf;
use crate::volume::{
    self, Body, Damage, DamagedNeedle, GetError, LiveNeedle, Needle, OpenError, Volume, Walk,
};

/// Progress of the work on a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of the volume.
    pub volume: VolumeId,
    /// Live bytes that were read and verified.
    pub done: u64,
    /// Live bytes in total; `None` while the log is being read.
    pub total: Option<u64>,
}

/// An open volume, with the position of the reader.
pub struct Reader<'a> {
    executor: &'a mut Executor,
    /// The volume.
    pub volume: Rc<Volume>,
    /// `None` only while a step of the walk is in flight.
    walk: Option<Walk>,
    done: u64,
}

impl<'a> Reader<'a> {
    /// Opens a volume file and recovers it, in memory only.
    pub fn open(executor: &'a mut Executor, place: &VolumeLocation) -> Result<Self, OpenError> {
        let (handle, dir, expected) = (executor.handle(), place.dir, place.expected());
        let opened =
            executor.run(async move { volume::open_read_only(&handle, dir, &expected).await });
        let volume = opened?;
        let walk = volume.walk().ok_or(OpenError::NoBuffer)?;
        Ok(Self { executor, volume, walk: Some(walk), done: 0 })
    }

    fn walk(&self) -> &Walk {
        self.walk.as_ref().expect("the walk is taken only while a step is in flight")
    }

    /// Returns whether a live needle begins at this offset (bytes).
    pub fn is_live(&self, offset: u64) -> bool {
        self.walk().places().binary_search_by_key(&offset, |at| at.offset).is_ok()
    }

    /// Returns the progress of the reader.
    pub fn progress(&self) -> Progress {
        let total = Some(self.volume.figures().live);
        Progress { volume: self.volume.id(), done: self.done, total }
    }

    fn buffer(&self, len: usize) -> Buf {
        let buf = self.executor.handle().pool().alloc(len);
        buf.expect("a window, a needle and a piece of a body at a time fit into the buffers")
    }

    /// Reads the next live needle and verifies all of it, including every part of a large body.
    pub fn next(&mut self) -> Option<Result<LiveNeedle, DamagedNeedle>> {
        let buf = self.buffer(self.walk().buffer_len()?);
        let mut walk = self.walk.take().expect("the walk is taken only while a step is in flight");
        let (walk, next) = self.executor.run(async move {
            let next = walk.next(buf).await;
            (walk, next)
        });
        self.walk = Some(walk);
        self.done += match &next {
            Ok(live) => live.at.len,
            Err(damaged) => damaged.at.len,
        };
        Some(match next {
            Ok(live) if live.needle.is_large => self.verify(live),
            next => next,
        })
    }

    /// Reads a large body, to verify its checksums.
    fn verify(&mut self, live: LiveNeedle) -> Result<LiveNeedle, DamagedNeedle> {
        let LiveNeedle { at, id, cookie, version, is_expired, needle } = live;
        let damaged = |error| DamagedNeedle { at, id: Some(id), damage: damage_of(error) };
        let mut body = self.body((id, cookie), needle).map_err(damaged)?;
        while body.remaining() > 0 {
            let (rest, buf, data) = self.read(body).map_err(damaged)?;
            self.done += data.len() as u64;
            drop(buf);
            body = rest;
        }
        let needle = body.into_manifest();
        Ok(LiveNeedle { at, id, cookie, version, is_expired, needle })
    }

    /// Opens a large body at its first byte.
    pub fn body(
        &self,
        (id, cookie): (NeedleId, Cookie),
        manifest: Needle,
    ) -> Result<Body, GetError> {
        let len = manifest.body_len;
        self.volume.body(id, cookie, manifest, 0..len)
    }

    /// Reads and verifies the next piece of a large body. Returns the body, a buffer, and the range of the
    /// piece in it.
    ///
    /// # Panics
    /// If nothing of the body remains.
    pub fn read(&mut self, mut body: Body) -> Result<(Body, Buf, Range<usize>), GetError> {
        let buf = self.buffer(Body::buffer_len(NEEDLE_DATA_MAX));
        let volume = Rc::clone(&self.volume);
        let (body, read) = self.executor.run(async move {
            let read = volume.read_body(&mut body, buf).await;
            (body, read)
        });
        read.map(|(buf, data)| (body, buf, data))
    }

    /// Closes the file.
    pub fn close(self) {
        let Self { executor, volume, walk, .. } = self;
        drop(walk);
        executor.run(async move { volume.close().await });
    }
}

/// Returns the damage that an error of reading a large body reports.
pub fn damage_of(error: GetError) -> Damage {
    match error {
        GetError::Unreadable(_, damage) => damage,
        GetError::NotFound | GetError::NeedBuffer(_) => {
            unreachable!("the manifest was read, and the buffer is long enough")
        }
    }
}
