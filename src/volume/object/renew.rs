//! A needle that is appended anew with another time of expiry.

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::buffer::Buf;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{
    Kind, NeedleHeader, decode_header, verify_data, verify_meta, with_expiry, with_expiry_len_max,
};
use crate::volume::index::Location;
use crate::volume::io::count;
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::log::pending::Pending;
use crate::volume::object::look_up::Present;
use crate::volume::object::precondition::{Check, Existing};

impl Volume {
    /// Returns the needle that a change of the time of expiry of `id` supersedes, if the change is permitted.
    /// The caller must hold the lock of the id.
    pub(in crate::volume) async fn decide_renewal(
        &self,
        id: NeedleId,
        cookie: Cookie,
        check: Check<'_>,
    ) -> Result<(NeedleHeader, Location), Refusal> {
        let (header, at) = match self.look_up(id).await? {
            Present::Yes(header, at) if header.cookie.matches(cookie) => (header, at),
            Present::Damaged(held, _) if held.matches(cookie) => {
                return Err(Refusal::Unreadable(id));
            }
            Present::Yes(..) | Present::Damaged(..) | Present::Expired(..) | Present::No => {
                return Err(Refusal::NotFound);
            }
            Present::Unknown | Present::Lost => return Err(Refusal::Unreadable(id)),
        };
        let existing = Existing { etag: header.data_checksum, modified_ns: header.modified_ns };
        match check.is_none_or(|holds| holds(Some(&existing))) {
            true => Ok((header, at)),
            false => Err(Refusal::Precondition),
        }
    }

    /// Reads the needle of `id` at `at`, and returns it with another time of expiry (nanoseconds since 1970;
    /// `None` for never). The parts of a multipart object stay where they are.
    ///
    /// # Errors
    /// [`Refusal::Unreadable`] if it is damaged: nothing is appended that does not verify.
    /// [`Refusal::NoBuffer`].
    pub(in crate::volume) async fn renewed(
        &self,
        id: NeedleId,
        at: Location,
        expires_ns: Option<u64>,
    ) -> Result<Pending, Refusal> {
        let len = usize::try_from(at.len).expect("a needle is below 2 MiB");
        let capacity = with_expiry_len_max(len);
        let buf = self.handle.pool().alloc(capacity).ok_or(Refusal::NoBuffer)?;
        let (mut buf, read) = self.read_needle(buf, id, at).await;
        let Some(old) = read.filter(|old| self.is_whole(&buf[..len], old)) else {
            count(&self.stats().damaged_reads, 1);
            return Err(Refusal::Unreadable(id));
        };
        let header = with_expiry(&mut buf, &old, expires_ns).ok_or(Refusal::Unreadable(id))?;
        let header = NeedleHeader {
            previous: at.offset,
            batch: 0,
            batch_ordinal: 0,
            batch_count: 0,
            parts_units: self.kept_parts(&old),
            keeps_parts: old.kind == Kind::Manifest,
            ..header
        };
        let (hash, superseded) = (self.hasher.hash(id), Expiring::of(&old));
        Ok(Pending { buf, header, hash, superseded, reserved: 0, is_copy: false })
    }

    /// Reads the needle of `id` at `at` to the begin of `buf`. Returns its header, if it can be read.
    pub(in crate::volume) async fn read_needle(
        &self,
        buf: Buf,
        id: NeedleId,
        at: Location,
    ) -> (Buf, Option<NeedleHeader>) {
        let len = usize::try_from(at.len).expect("a needle is below 2 MiB");
        let reads = &self.file.stats.other_reads;
        let (buf, result) = self.file.read(buf, 0, len, at.offset, reads).await;
        let incarnation = self.superblock.incarnation;
        let decoded = result.ok().and_then(|()| decode_header(&buf[..len], incarnation, at.offset));
        let own = |(header, back): &(NeedleHeader, u64)| {
            *back == 0 && header.id == id && header.layout().len == len
        };
        let header = decoded.filter(own).map(|(header, _)| header);
        (buf, header)
    }

    /// Whether attributes, chunk checksums and data of a needle are as they were written.
    pub(in crate::volume) fn is_whole(&self, bytes: &[u8], header: &NeedleHeader) -> bool {
        verify_meta(bytes, header, self.superblock.incarnation).is_ok()
            && verify_data(bytes, header).is_ok()
    }

    /// Length of the parts that live on with the new manifest (units).
    fn kept_parts(&self, old: &NeedleHeader) -> u32 {
        if chosen(Sabotage::RenewalLosesParts) { 0 } else { old.parts_units }
    }
}
