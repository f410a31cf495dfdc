//! Unpacks gzip (RFC 1952), piece by piece: bodies that a client packed before it sent them, for a reader
//! that does not accept them so, and to verify a digest of what was packed.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// Why bytes were not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnpacked {
    /// They are no gzip, or end too early.
    Malformed,
    /// What was packed is longer than allowed.
    TooLong,
}

/// Unpacks a body.
pub struct Unpacker {
    decoder: MultiGzDecoder<Limited>,
}

/// Output of one step, and how much may come.
struct Limited {
    out: Vec<u8>,
    left: u64,
    is_over: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Unpacker {
    /// An unpacker for a body of at most `most` bytes when unpacked.
    #[must_use]
    pub fn new(most: u64) -> Self {
        let output = Limited { out: Vec::new(), left: most, is_over: false };
        Self { decoder: MultiGzDecoder::new(output) }
    }

    /// Unpacks the next bytes, and passes what comes out to `take`. Bytes that a compressor made short may
    /// come out a thousand times as long: callers pass few at a time.
    ///
    /// # Errors
    /// See [`NotUnpacked`].
    pub fn unpack(&mut self, bytes: &[u8], take: impl FnOnce(&[u8])) -> Result<(), NotUnpacked> {
        let result = self.decoder.write_all(bytes).and_then(|()| self.decoder.flush());
        let limited = self.decoder.get_mut();
        if limited.is_over {
            return Err(NotUnpacked::TooLong);
        }
        result.map_err(|_| NotUnpacked::Malformed)?;
        take(&limited.out);
        limited.out.clear();
        Ok(())
    }

    /// Ends the body, and passes the last bytes to `take`.
    ///
    /// # Errors
    /// See [`NotUnpacked`]: also if the checksum or the length in the body is wrong.
    pub fn finish(mut self, take: impl FnOnce(&[u8])) -> Result<(), NotUnpacked> {
        let result = self.decoder.try_finish();
        let limited = self.decoder.get_mut();
        if limited.is_over {
            return Err(NotUnpacked::TooLong);
        }
        result.map_err(|_| NotUnpacked::Malformed)?;
        take(&limited.out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], step: usize, most: u64) -> Result<Vec<u8>, NotUnpacked> {
        let (mut unpacker, mut out) = (Unpacker::new(most), Vec::new());
        for piece in packed.chunks(step) {
            unpacker.unpack(piece, |bytes| out.extend_from_slice(bytes))?;
        }
        unpacker.finish(|bytes| out.extend_from_slice(bytes))?;
        Ok(out)
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let bomb = packed(&vec![0; 1 << 20]);
        assert_eq!(unpacked(&bomb, 100, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(unpacked(&bomb, 100, (1 << 20) - 1), Err(NotUnpacked::TooLong));
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        let good = packed(b"hello hello hello");
        assert_eq!(unpacked(b"hello", 5, 100), Err(NotUnpacked::Malformed));
        assert_eq!(unpacked(&good[..good.len() - 1], 5, 100), Err(NotUnpacked::Malformed));
        assert_eq!(unpacked(b"", 1, 100), Err(NotUnpacked::Malformed));
        let mut wrong = good.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        assert_eq!(unpacked(&wrong, 5, 100), Err(NotUnpacked::Malformed), "checksum");
        assert_eq!(unpacked(&[good.clone(), good].concat(), 7, 100).unwrap().len(), 34);
    }

    proptest! {
        #[test]
        fn any_splitting_unpacks_the_same(
            bytes in prop::collection::vec(0u8..4, 0..2000), step in 1usize..50,
        ) {
            prop_assert_eq!(unpacked(&packed(&bytes), step, 2000), Ok(bytes));
        }
    }
}
