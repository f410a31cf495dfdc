//! The parts of multipart objects against their manifests. Parts come before their manifest in the log; each
//! is read once.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::flaw::{Finding, Flaw};
use crate::base::limits::CHUNK;
use crate::base::types::NeedleId;
use crate::volume::format::{Manifest, NeedleLayout, Unreadable, data_checksum};
use crate::volume::index::Location;

/// A part that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) struct SeenPart {
    /// Length of its data (bytes).
    pub len: u32,
    /// Checksum of the checksums of its chunks; `None` if it is damaged.
    pub digest: Option<u64>,
    /// Whether the device could not read it.
    pub is_io: bool,
}

/// The parts that were read and that no manifest has named so far, by offset (bytes). A part takes more than
/// 1 MiB of the log as a rule, and some 40 bytes here.
#[derive(Debug, Default)]
pub(in crate::volume) struct Parts {
    seen: BTreeMap<u64, SeenPart>,
    /// Offset from which on parts were read (bytes): those before it are not judged.
    from: u64,
}

impl Parts {
    /// Parts of which only those from this offset (bytes) on are read.
    pub fn read_from(from: u64) -> Self {
        Self { seen: BTreeMap::new(), from }
    }

    /// Adds a part.
    pub fn add(&mut self, offset: u64, part: SeenPart) {
        self.seen.insert(offset, part);
    }

    /// Compares the parts that a manifest names with what was read, and forgets them. `data` are the verified
    /// data of the manifest of `id`.
    pub fn check(&mut self, id: NeedleId, manifest: Location, data: &[u8]) -> Vec<Finding> {
        let Some(named) = Manifest::decode(data) else {
            let flaw = Flaw::Needle(Unreadable::Meta);
            return vec![Finding { at: manifest, id: Some(id), flaw, is_io: false }];
        };
        let (mut findings, mut chunk) = (Vec::new(), 0);
        for number in 0..named.len() {
            let part = named.part(number);
            let sums = (chunk..chunk + part.chunks()).map(|n| named.sum(n));
            chunk += part.chunks();
            let seen = self.seen.remove(&part.offset);
            let is_right =
                |seen: &SeenPart| seen.len == part.len && seen.digest == Some(digest(sums));
            if part.offset >= self.from && !seen.as_ref().is_some_and(is_right) {
                let len = NeedleLayout::data(0, part.len as usize).len as u64;
                let at = Location { offset: part.offset, len };
                let is_io = seen.is_some_and(|seen| seen.is_io);
                findings.push(Finding { at, id: Some(id), flaw: Flaw::Part(number), is_io });
            }
        }
        findings
    }
}

/// Checksum of the checksums of the chunks of a part's data.
pub(in crate::volume) fn digest_of(data: &[u8]) -> u64 {
    digest(data.chunks(usize::try_from(CHUNK).expect("64 KiB")).map(data_checksum))
}

/// The order of the checksums matters.
fn digest(sums: impl Iterator<Item = u64>) -> u64 {
    sums.fold(0, |before, sum| xxh3_64_with_seed(&[], before ^ sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::format::{PartEntry, encode_manifest, manifest_len};

    const ID: NeedleId = NeedleId::new(7, 1);

    /// Two parts as they were read, and the data of their manifest.
    fn two_parts() -> (Parts, Vec<u8>) {
        let data = [vec![1; 70_000], vec![2; 10]];
        let entries =
            [(65_536, 70_000), (1 << 20, 10)].map(|(offset, len)| PartEntry { offset, len });
        let chunks = data.iter().flat_map(|data| data.chunks(65_536)).map(data_checksum);
        let sums: Vec<u64> = chunks.collect();
        let mut manifest = vec![0; manifest_len(2, sums.len())];
        encode_manifest(&entries, &sums, 70_010, 1 << 30, &mut manifest);
        let mut parts = Parts::default();
        for (entry, data) in entries.iter().zip(&data) {
            let digest = Some(digest_of(data));
            parts.add(entry.offset, SeenPart { len: entry.len, digest, is_io: false });
        }
        (parts, manifest)
    }

    fn flaws(parts: &mut Parts, manifest: &[u8]) -> Vec<(u64, Flaw, bool)> {
        let at = Location { offset: 2 << 20, len: 1024 };
        let findings = parts.check(ID, at, manifest);
        assert!(findings.iter().all(|finding| finding.id == Some(ID)));
        findings.iter().map(|finding| (finding.at.offset, finding.flaw, finding.is_io)).collect()
    }

    #[test]
    fn whole_parts_are_accepted_once() {
        let (mut parts, manifest) = two_parts();
        assert_eq!(flaws(&mut parts, &manifest), []);
        let both = [(65_536, Flaw::Part(0), false), (1 << 20, Flaw::Part(1), false)];
        assert_eq!(flaws(&mut parts, &manifest), both, "another manifest must not name them again");
    }

    #[test]
    fn lost_damaged_and_exchanged_parts_are_found() {
        let (mut parts, manifest) = two_parts();
        parts.seen.remove(&65_536);
        assert_eq!(flaws(&mut parts, &manifest), [(65_536, Flaw::Part(0), false)]);
        for wrong in [
            SeenPart { len: 11, digest: Some(digest_of(&[2; 11])), is_io: false },
            SeenPart { len: 10, digest: Some(digest_of(&[3; 10])), is_io: false },
            SeenPart { len: 10, digest: None, is_io: true },
        ] {
            let (mut parts, manifest) = two_parts();
            parts.add(1 << 20, wrong);
            assert_eq!(flaws(&mut parts, &manifest), [(1 << 20, Flaw::Part(1), wrong.is_io)]);
        }
    }

    #[test]
    fn parts_before_what_is_read_are_not_judged() {
        let (_, manifest) = two_parts();
        let both = [(65_536, Flaw::Part(0), false), (1 << 20, Flaw::Part(1), false)];
        assert_eq!(flaws(&mut Parts::read_from(65_536), &manifest), both);
        let mut parts = Parts::read_from(65_537);
        assert_eq!(flaws(&mut parts, &manifest), [(1 << 20, Flaw::Part(1), false)]);
        let mut parts = Parts::read_from((1 << 20) + 1);
        assert_eq!(flaws(&mut parts, &manifest), []);
    }

    #[test]
    fn manifest_that_cannot_be_decoded_is_damaged() {
        let (mut parts, manifest) = two_parts();
        let flaw = Flaw::Needle(Unreadable::Meta);
        assert_eq!(flaws(&mut parts, &manifest[..20]), [(2 << 20, flaw, false)]);
    }
}
