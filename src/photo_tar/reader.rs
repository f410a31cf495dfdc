//! The photos of a tar, one after the other.

use std::io::{self, Read, Seek};

use super::header::{BLOCK, Header, Kind, has_checksum};
use super::pax::{Field, Records};
use super::photo::{Extensions, Photo, header_size, judge};
use super::{TarError, shown};

/// Longest pax header and longest GNU name (bytes): kept in memory.
const EXTENSION_MAX: u64 = 1 << 20;
/// Data that is not wanted is read in pieces of this size (bytes).
const SKIP_PIECE: usize = 4096;

/// Reads the photos of a tar. The bytes of the current photo are read through [`Read`]; what is not read
/// of them is passed over. An input that ends within them is an error of kind `UnexpectedEof`.
pub struct Reader<R> {
    input: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    /// Bytes of input that were not read, if that is known.
    remaining: Option<u64>,
    /// Nothing was read yet.
    is_fresh: bool,
    /// The end was found.
    is_over: bool,
    /// Bytes of the current entry's data that were not read.
    left: u64,
    /// Bytes behind them, up to the next block.
    padding: u64,
    /// What pax global headers said up to here.
    global: Records,
}

impl<R: Read> Reader<R> {
    /// A tar that is read from its first byte to its last.
    pub fn new(input: R) -> Self {
        Self {
            input,
            skip: skip_by_reading,
            remaining: None,
            is_fresh: true,
            is_over: false,
            left: 0,
            padding: 0,
            global: Records::default(),
        }
    }

    /// The same of a tar whose length (bytes) is known: an entry that is longer is refused before anything
    /// of it is read.
    pub fn with_len(input: R, len: u64) -> Self {
        Self { remaining: Some(len), ..Self::new(input) }
    }

    /// The next photo; nothing when the tar is over and sound.
    ///
    /// # Errors
    /// [`TarError`]; the tar cannot be read on then.
    pub fn next_photo(&mut self) -> Result<Option<Photo>, TarError> {
        let mut extensions = Extensions::default();
        while !self.is_over {
            self.finish_entry()?;
            let Some(header) = self.header()? else {
                if !extensions.is_empty() {
                    return Err(TarError::Damaged("its last header has no entry behind it"));
                }
                self.end()?;
                break;
            };
            let twice = match header.kind {
                Kind::Records => {
                    let records = self.records(&header, Records::default())?;
                    extensions.records.replace(records).is_some()
                }
                Kind::LongName => {
                    let name = self.long_name(&header)?;
                    extensions.long_name.replace(name).is_some()
                }
                Kind::LongLink => {
                    self.extension(&header)?;
                    std::mem::replace(&mut extensions.long_link, true)
                }
                Kind::GlobalRecords => {
                    self.global_records(&header)?;
                    false
                }
                _ => {
                    if let Some(photo) = self.entry(&header, std::mem::take(&mut extensions))? {
                        return Ok(Some(photo));
                    }
                    false
                }
            };
            if twice {
                return Err(TarError::Damaged("two headers of one kind describe the same entry"));
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &Header,
        extensions: Extensions,
    ) -> Result<Option<Photo>, TarError> {
        let Some(photo) = judge(header, extensions, &self.global)? else { return Ok(None) };
        if self.remaining.is_some_and(|remaining| photo.size > remaining) {
            return Err(TarError::Longer(photo.name()));
        }
        self.expect(photo.size);
        Ok(Some(photo))
    }

    /// Notes the size of the data that follows (bytes), and its padding.
    fn expect(&mut self, size: u64) {
        let block = BLOCK as u64;
        self.left = size;
        self.padding = (block - size % block) % block;
    }

    /// Passes over what is left of the current entry.
    fn finish_entry(&mut self) -> Result<(), TarError> {
        for len in [self.left, self.padding] {
            (self.skip)(&mut self.input, len)?;
            self.consumed(len);
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn consumed(&mut self, len: u64) {
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(len));
    }

    /// The next header; nothing for the block of zeros that marks the end.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut block = [0; BLOCK];
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        if self.block(&mut block)? < BLOCK {
            return Err(match is_fresh {
                true => TarError::Damaged("it is shorter than a header"),
                false => TarError::Cut,
            });
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        Header::parse(&block).map(Some).map_err(TarError::Damaged)
    }

    /// Reads a block, or what is left; returns its length.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize, TarError> {
        let mut len = 0;
        while len < BLOCK {
            match self.input.read(&mut block[len..]) {
                Ok(0) => break,
                Ok(got) => len += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.consumed(len as u64);
        Ok(len)
    }

    /// What stands behind the mark: anything, as POSIX has it, but no other tar, whose photos would be
    /// passed over.
    fn end(&mut self) -> Result<(), TarError> {
        self.is_over = true;
        let mut block = [0; BLOCK];
        while self.block(&mut block)? == BLOCK {
            if block != [0; BLOCK] && has_checksum(&block) {
                return Err(TarError::Joined);
            }
        }
        Ok(())
    }

    /// The data of a header that describes another entry. Its size stands in itself and nowhere else.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let refused = |what: &'static str| TarError::entry(&header.name, what);
        let size = header_size(header.size, header.kind).map_err(refused)?;
        if size > EXTENSION_MAX {
            return Err(refused("is a header of more than 1 MiB"));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn records(&mut self, header: &Header, mut records: Records) -> Result<Records, TarError> {
        let bytes = self.extension(header)?;
        let bad = |error: super::pax::BadRecord| TarError::entry(&header.name, error.to_string());
        records.add(&bytes).map_err(bad)?;
        Ok(records)
    }

    /// A name that ends with a NUL.
    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(header)?;
        name.pop_if(|last| *last == 0);
        Ok(name)
    }

    /// Applies to all entries that follow, where they say nothing themselves (POSIX pax, "typeflag g").
    fn global_records(&mut self, header: &Header) -> Result<(), TarError> {
        let before = std::mem::take(&mut self.global);
        let records = self.records(header, before)?;
        let one = [(&records.path, "path"), (&records.size, "size")];
        if let Some((_, key)) = one.iter().find(|(field, _)| **field != Field::Unsaid) {
            let what = format!("has the record {key}, which cannot hold for every entry");
            return Err(TarError::Global(what.into()));
        }
        if let Some(key) = records.sparse.as_ref().or(records.partial.as_ref()) {
            let what =
                format!("has the record {}, and no entry may be sparse or a part", shown(key));
            return Err(TarError::Global(what.into()));
        }
        if records.is_special {
            return Err(TarError::Global("makes all entries something else than files".into()));
        }
        self.global = records;
        Ok(())
    }
}

impl<R: Read + Seek> Reader<R> {
    /// A tar in a file of `len` bytes. Only headers are read, unless the bytes of a photo are.
    pub fn seeking(input: R, len: u64) -> Self {
        Self { skip: skip_by_seeking, ..Self::with_len(input, len) }
    }
}

impl<R: Read> Read for Reader<R> {
    /// Reads of the current photo's bytes.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.input.read(&mut out[..most])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        self.consumed(got as u64);
        Ok(got)
    }
}

fn skip_by_reading<R: Read>(input: &mut R, mut len: u64) -> io::Result<()> {
    let mut piece = [0; SKIP_PIECE];
    while len > 0 {
        let most = usize::try_from(len).unwrap_or(SKIP_PIECE).min(SKIP_PIECE);
        input.read_exact(&mut piece[..most])?;
        len -= most as u64;
    }
    Ok(())
}

/// Beyond the end of a file there is nothing to read, which the next header finds.
fn skip_by_seeking<R: Seek>(input: &mut R, len: u64) -> io::Result<()> {
    let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let len = i64::try_from(len).map_err(|_| beyond())?;
    input.seek_relative(len).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => beyond(),
        _ => error,
    })
}
