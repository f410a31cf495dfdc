//! One read of a random live needle.

use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::WorkBuffer;
use crate::volume::Volume;
use crate::volume::format::{
    Kind, Manifest, NeedleHeader, NeedleLayout, decode_header, verify_data, verify_meta,
};
use crate::volume::health::Severity;
use crate::volume::index::Location;
use crate::volume::io::count;

impl Volume {
    /// Reads and verifies a random live needle; of a multipart object also one of its parts. What fails is
    /// counted with the errors of the file. The buffer must have space for a needle of 1 MiB.
    pub(super) async fn read_random_needle(&self, buf: &mut WorkBuffer) {
        let sample = self.contents.borrow().index().sample(self.handle.random());
        let Some(at) = sample else { return };
        count(&self.stats().probes, 1);
        let header = self.read_and_verify(buf, at).await;
        let Some(header) = header.filter(|header| header.kind == Kind::Manifest) else { return };
        let part = {
            let data = &buf.memory()[header.layout().data_range()];
            let Some(parts) = Manifest::decode(data).filter(|parts| !parts.is_empty()) else {
                return;
            };
            let number = self.handle.random() % parts.len() as u64;
            parts.part(usize::try_from(number).expect("below a length"))
        };
        let len = NeedleLayout::data(0, part.len as usize).len as u64;
        self.read_and_verify(buf, Location { offset: part.offset, len }).await;
    }

    /// Reads a needle and verifies it. Wrong bytes are read once more: some errors go away. Returns its
    /// header if it is right.
    async fn read_and_verify(&self, buf: &mut WorkBuffer, at: Location) -> Option<NeedleHeader> {
        let len = usize::try_from(at.len).expect("a needle is about 1 MiB at most");
        let mut was_wrong = false;
        loop {
            let reads = &self.stats().other_reads;
            let (back, result) = self.file.read(buf.take(), 0, len, at.offset, reads).await;
            buf.put_back(back);
            // The file has counted the error.
            result.ok()?;
            let header = verified(&buf.memory()[..len], self.superblock.incarnation, at);
            if header.is_none() && !was_wrong {
                was_wrong = true;
                continue;
            }
            let is_wrong = header.is_none() && !chosen(Sabotage::ProbeWithoutVerifying);
            if is_wrong || (was_wrong && header.is_some()) {
                let severity = if is_wrong { Severity::Hard } else { Severity::Soft };
                self.file.note_wrong_bytes(at.offset..at.offset + at.len, severity);
            }
            return header;
        }
    }
}

/// Returns the header of a needle, if all of it is as it was written.
fn verified(bytes: &[u8], incarnation: u64, at: Location) -> Option<NeedleHeader> {
    let (header, _) =
        decode_header(bytes, incarnation, at.offset).filter(|(_, back)| *back == 0)?;
    if header.layout().len as u64 != at.len {
        return None;
    }
    verify_meta(bytes, &header, incarnation).ok()?;
    verify_data(bytes, &header).ok()?;
    Some(header)
}
