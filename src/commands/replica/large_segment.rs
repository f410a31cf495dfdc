//! A large object as a request to store it: a stream of its own, made from a file while it is sent.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::segment::{Segment, SegmentStart};
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::base::types::VolumeId;
use crate::commands::client::Source;
use crate::volume::format::{
    EXCHANGE_START_LEN, ExchangeKind, RECORD_HEAD_LEN, RecordHead, data_checksum,
};

/// A large object whose body is in a file.
pub struct LargeSegment {
    /// The stream is that of the source's volume.
    pub volume: VolumeId,
    /// What it follows.
    pub start: SegmentStart,
    /// Record of the object.
    pub head: RecordHead,
    /// Its attributes.
    pub attributes: Vec<u8>,
    /// Its body.
    pub file: RefCell<File>,
}

impl Source for LargeSegment {
    fn len(&self) -> u64 {
        let pieces = self.head.body_len.div_ceil(NEEDLE_DATA_MAX);
        let heads = (pieces + 2) * RECORD_HEAD_LEN as u64;
        EXCHANGE_START_LEN as u64 + heads + self.attributes.len() as u64 + self.head.body_len
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        self.file.borrow_mut().seek(SeekFrom::Start(0))?;
        let mut segment = Segment::new(self.volume, self.start);
        segment.push(&self.head, &self.attributes, &[]);
        Ok(Box::new(Encoded {
            of: self,
            ready: Cursor::new(segment.take()),
            segment: Some(segment),
            sent: 0,
        }))
    }
}

/// The bytes of the stream, as they are read.
struct Encoded<'a> {
    of: &'a LargeSegment,
    /// What is encoded and not read yet.
    ready: Cursor<Vec<u8>>,
    /// `None` after the end record.
    segment: Option<Segment>,
    /// Length of the encoded part of the body (bytes).
    sent: u64,
}

impl Encoded<'_> {
    /// Encodes the next piece, or the end.
    fn encode(&mut self, mut segment: Segment) -> io::Result<()> {
        let LargeSegment { head, file, .. } = self.of;
        let left = head.body_len - self.sent;
        if left == 0 {
            self.ready = Cursor::new(segment.finish(head.version));
            return Ok(());
        }
        let data_len = u32::try_from(left.min(NEEDLE_DATA_MAX)).expect("1 MiB");
        let mut data = vec![0; data_len as usize];
        file.borrow_mut().read_exact(&mut data)?;
        segment.push_head(RecordHead {
            kind: ExchangeKind::Piece,
            attributes_len: 0,
            data_len,
            offset: self.sent,
            payload_checksum: data_checksum(&data),
            ..*head
        });
        self.sent += u64::from(data_len);
        let mut bytes = segment.take();
        bytes.append(&mut data);
        self.ready = Cursor::new(bytes);
        self.segment = Some(segment);
        Ok(())
    }
}

impl Read for Encoded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.ready.read(out)? {
                0 if !out.is_empty() => match self.segment.take() {
                    Some(segment) => self.encode(segment)?,
                    None => return Ok(0),
                },
                len => return Ok(len),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::base::types::{Cookie, NeedleId};
    use crate::commands::export::RecordReader;

    #[test]
    fn large_object_is_a_stream_of_the_announced_length() {
        for len in [NEEDLE_DATA_MAX + 1, 3 * NEEDLE_DATA_MAX] {
            let body: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&body).unwrap();
            let attributes = b"\x01\0\x01\0x".to_vec();
            let head = RecordHead {
                kind: ExchangeKind::LargeObject,
                id: NeedleId::new(7, 1),
                cookie: Cookie(3),
                version: 90,
                modified_ns: 5,
                body_len: len,
                body_checksum: data_checksum(&body),
                attributes_len: 5,
                payload_checksum: data_checksum(&attributes),
                ..RecordHead::end(0, 0)
            };
            let segment = LargeSegment {
                volume: VolumeId(1),
                start: SegmentStart { lineage: 11, since: 80, deletions: true },
                head,
                attributes,
                file: RefCell::new(file),
            };
            let mut bytes = Vec::new();
            segment.open().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, segment.len());
            let mut records = RecordReader::open(&bytes[..]).unwrap();
            assert_eq!((records.start().since, records.start().lineage), (80, 11));
            let mut arrived = Vec::new();
            loop {
                let record = records.read().unwrap();
                if record.is_end() {
                    assert_eq!(record.head.version, 90);
                    break;
                }
                arrived.extend_from_slice(record.data);
            }
            assert_eq!(arrived, body);
        }
    }
}
