//! A copy of a volume in the store of a running daemon.

use std::io;

use super::bucket_digests::BucketDigests;
use super::not_compared::{NotCompared, list_reason_of, reason_of};
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, Reply};
use crate::commands::transfer::listing::{
    Arrived, ListedObject, Wanted, WantedDigests, list_volume,
};
use crate::http::head::Method;

/// A copy of a volume.
#[derive(Debug)]
pub struct VolumeCopy {
    /// The admin API of its daemon.
    pub client: Client,
    /// The admin token, if it is needed.
    pub token: Option<String>,
    /// Volume.
    pub volume: VolumeId,
}

impl VolumeCopy {
    /// Asks for the digests of `buckets` buckets. Returns the answer as soon as it begins.
    pub(super) fn ask(&self, buckets: u32) -> Result<Reply, NotCompared> {
        let path = format!("/volumes/{}/digest?buckets={buckets}", self.volume);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        let reply = self.client.request(Method::Get, &path, headers.as_slice(), Body::None);
        let reply = reply.and_then(|reply| reply.expect(&[200]));
        reply.map_err(|error| self.unread(reason_of(error)))
    }

    /// Reads the digests of `buckets` buckets to their end.
    pub(super) fn read(&self, reply: Reply, buckets: u32) -> Result<BucketDigests, NotCompared> {
        let digests: BucketDigests = reply.json().map_err(|error| {
            self.unread(format!("the digest was cut short: {}; start again", reason_of(error)))
        })?;
        let is_whole = digests.end && digests.buckets.len() as u64 == u64::from(buckets);
        match is_whole {
            true => Ok(digests),
            false => Err(self.unread("the digest has another number of buckets".to_owned())),
        }
    }

    /// Lists the objects of the buckets `named` of `buckets`, with their digests; all if none is named.
    pub(super) fn list(
        &self,
        buckets: u32,
        named: &[u32],
        sink: &mut dyn FnMut(ListedObject, u64) -> io::Result<()>,
    ) -> Result<(), NotCompared> {
        let digests = WantedDigests { token: self.token.as_deref(), buckets, named };
        let wanted = Wanted { digests: Some(digests), ..Wanted::default() };
        let mut without = false;
        let listed = list_volume(&self.client, self.volume, wanted, &mut |arrived| {
            let Arrived::Object(object) = arrived else { return Ok(()) };
            let digest = object.digest.as_ref().and_then(|text| u64::from_str_radix(text, 16).ok());
            match digest {
                Some(digest) => sink(object, digest),
                None => {
                    without = true;
                    Ok(())
                }
            }
        });
        match listed {
            Ok(_) if without => Err(self.unread("an object is listed without a digest".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => match list_reason_of(error) {
                Ok(reason) => Err(self.unread(reason)),
                Err(error) => Err(NotCompared::Temporary(error)),
            },
        }
    }

    fn unread(&self, reason: String) -> NotCompared {
        NotCompared::Unread { volume: self.volume, server: self.client.address().clone(), reason }
    }
}
