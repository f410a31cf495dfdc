//! The uploads of multipart objects that are in progress: their parts, wherever a compaction has moved them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::base::types::{Cookie, NeedleId};
use crate::volume::error::Refusal;
use crate::volume::format::{PartEntry, encode_manifest};
use crate::volume::log::joined::Joined;
use crate::volume::log::reservation::Reservation;
use crate::volume::object::upload_key::UploadKey;

/// Where a part is.
#[derive(Clone)]
pub enum PartPlace {
    /// In a commit of the current generation.
    Joined(Joined),
    /// At this offset of the current generation (bytes).
    At(u64),
}

impl PartPlace {
    /// Returns the offset of the part (bytes), or why it was not written; `None` while it is being written.
    pub fn known(&self) -> Option<Result<u64, Refusal>> {
        match self {
            Self::At(offset) => Some(Ok(*offset)),
            Self::Joined(joined) => joined.outcome(),
        }
    }

    /// Returns the offset of the part (bytes).
    ///
    /// # Errors
    /// [`Refusal::Failed`] if it was not written.
    ///
    /// # Panics
    /// If it is still being written.
    pub fn offset(&self) -> Result<u64, Refusal> {
        self.known().expect("no commit is under way")
    }
}

/// A part of an upload.
#[derive(Clone)]
pub struct UploadedPart {
    /// Where it is.
    pub place: PartPlace,
    /// Length of its data (bytes).
    pub len: u32,
}

/// An upload in progress.
pub struct OpenUpload {
    /// Id of the object.
    pub id: NeedleId,
    /// Cookie of the object.
    pub cookie: Cookie,
    /// Its parts so far, in order.
    pub parts: Vec<UploadedPart>,
    /// Checksums of all chunks so far.
    pub sums: Vec<u64>,
    /// Space in the log of the current generation for what is still to be appended.
    pub reservation: Reservation,
}

impl OpenUpload {
    /// Encodes the manifest for a body of `body_len` bytes into `out`, in a log that ends at `log_end` at the
    /// latest.
    ///
    /// # Errors
    /// [`Refusal::Failed`] if a part was not written.
    ///
    /// # Panics
    /// If a part is still being written, or a reader would refuse the manifest.
    pub fn encode_manifest(
        &self,
        body_len: u64,
        log_end: u64,
        out: &mut [u8],
    ) -> Result<(), Refusal> {
        let entry =
            |part: &UploadedPart| Ok(PartEntry { offset: part.place.offset()?, len: part.len });
        let entries: Vec<PartEntry> = self.parts.iter().map(entry).collect::<Result<_, _>>()?;
        encode_manifest(&entries, &self.sums, body_len, log_end, out);
        Ok(())
    }
}

/// The uploads in progress.
#[derive(Default)]
pub struct Uploads {
    open: RefCell<BTreeMap<UploadKey, OpenUpload>>,
    last: Cell<u64>,
}

impl Uploads {
    /// Adds an upload. Returns its key.
    pub fn add(&self, upload: OpenUpload) -> UploadKey {
        let key = UploadKey(self.last.get() + 1);
        self.last.set(key.0);
        self.open.borrow_mut().insert(key, upload);
        key
    }

    /// Calls `work` with an upload.
    ///
    /// # Panics
    /// If it has ended.
    pub fn with<T>(&self, key: UploadKey, work: impl FnOnce(&mut OpenUpload) -> T) -> T {
        let mut open = self.open.borrow_mut();
        work(open.get_mut(&key).expect("an upload is in the table until it is dropped"))
    }

    /// Calls `work` with each upload.
    pub fn for_each(&self, mut work: impl FnMut(UploadKey, &mut OpenUpload)) {
        self.open.borrow_mut().iter_mut().for_each(|(key, upload)| work(*key, upload));
    }

    /// Removes an upload.
    pub fn remove(&self, key: UploadKey) {
        let removed = self.open.borrow_mut().remove(&key);
        // Dropped after the borrow: the reservation looks at its log.
        drop(removed);
    }

    /// Returns all uploads: the key, the parts, and the space that is reserved for the rest (bytes).
    pub fn open(&self) -> Vec<(UploadKey, Vec<UploadedPart>, u64)> {
        let open = self.open.borrow();
        let open = open
            .iter()
            .map(|(key, upload)| (*key, upload.parts.clone(), upload.reservation.left()));
        open.collect()
    }

    /// Returns whether no upload is in progress.
    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }
}
