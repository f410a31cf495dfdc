//! Checks an uploaded file while it is received: its digest, and whether it unpacks.

use super::file_head::FileHead;
use crate::http::digest::{Digests, Verifier};
use crate::http::fid::{NotUnpacked, Unpacker};
use crate::http::reject::Reject;
use crate::runtime::Handle;

/// Bytes of a packed file that are unpacked before other requests have their turn.
const PACKED_STEP: usize = 4 << 10;

const NO_GZIP: Reject = Reject::bad("the Content-Encoding is gzip, and the data is not");
const TOO_LONG: Reject = Reject::bad("the data is longer when unpacked than this store takes");

/// State of the check of one file.
pub struct FileCheck {
    /// What the client says of the data, before it was packed.
    verifier: Option<Verifier>,
    unpacker: Option<Unpacker>,
    /// Length of the data, before it was packed (bytes).
    len: u64,
}

impl FileCheck {
    /// The check of a file with this head, of at most `most` bytes before it was packed.
    ///
    /// # Errors
    /// 400 if its digest is malformed.
    pub fn new(head: &FileHead, most: u64) -> Result<Self, Reject> {
        let mut digests = Digests::default();
        if let Some(value) = &head.content_md5 {
            digests.take_content_md5(value)?;
        }
        let unpacker = head.is_gzip.then(|| Unpacker::new(most));
        Ok(Self { verifier: digests.verifier(), unpacker, len: 0 })
    }

    /// Whether the data has to be looked at.
    pub fn is_needed(&self) -> bool {
        self.verifier.is_some() || self.unpacker.is_some()
    }

    /// Looks at the next bytes of the file.
    ///
    /// # Errors
    /// 400 if they do not unpack.
    pub async fn update(&mut self, handle: &Handle, bytes: &[u8]) -> Result<(), Reject> {
        let Self { verifier, unpacker, len } = self;
        let mut take = |plain: &[u8]| {
            *len += plain.len() as u64;
            if let Some(verifier) = verifier {
                verifier.update(plain);
            }
        };
        let Some(unpacker) = unpacker else {
            take(bytes);
            return Ok(());
        };
        for piece in bytes.chunks(PACKED_STEP) {
            unpacker.unpack(piece, &mut take).map_err(not_unpacked)?;
            handle.yield_now().await;
        }
        Ok(())
    }

    /// Ends the check. Returns the length of the data before it was packed (bytes).
    ///
    /// # Errors
    /// 400 if a digest does not match, or the data does not unpack.
    pub fn finish(self) -> Result<u64, Reject> {
        let Self { mut verifier, unpacker, mut len } = self;
        if let Some(unpacker) = unpacker {
            let last = unpacker.finish(|plain| {
                len += plain.len() as u64;
                if let Some(verifier) = &mut verifier {
                    verifier.update(plain);
                }
            });
            last.map_err(not_unpacked)?;
        }
        verifier.map_or(Ok(()), Verifier::finish)?;
        Ok(len)
    }
}

fn not_unpacked(error: NotUnpacked) -> Reject {
    match error {
        NotUnpacked::Malformed => NO_GZIP,
        NotUnpacked::TooLong => TOO_LONG,
    }
}
