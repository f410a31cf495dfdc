//! Iterates over the photos of a tar.

use std::io::{self, Read, Seek};

use super::error::{TarError, shown};
use super::header::{BLOCK, Header, Kind, has_checksum};
use super::pax::{PaxValue, Records};
use super::photo::{Extensions, Photo, from_entry, header_size};

/// Maximum size of a pax header or GNU name (bytes), which are held in memory.
const EXTENSION_MAX: u64 = 1 << 20;
/// Buffer size for skipping data by reading (bytes).
const SKIP_PIECE: usize = 4096;

/// Reads the photos of a tar. The data of the current photo are read through [`Read`]; unread data are
/// skipped. An input that ends within them is an error of kind `UnexpectedEof`.
pub struct Reader<R> {
    input: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    /// Length of the unread input (bytes), if known.
    remaining: Option<u64>,
    /// Whether nothing was read yet.
    is_fresh: bool,
    /// Whether the end mark was read.
    is_over: bool,
    /// Length of the unread data of the current entry (bytes).
    left: u64,
    /// Length of the padding after the data, up to the next block (bytes).
    padding: u64,
    /// The records of all pax global headers so far.
    global: Records,
}

impl<R: Read> Reader<R> {
    /// Reads a tar from its first byte to its last.
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

    /// Reads a tar of known length (bytes): an entry longer than the rest is refused before its data are
    /// read.
    pub fn with_len(input: R, len: u64) -> Self {
        Self { remaining: Some(len), ..Self::new(input) }
    }

    /// Returns the next photo; `None` at the end of a valid tar.
    ///
    /// # Errors
    /// See [`TarError`]; nothing more can be read after an error.
    pub fn next_photo(&mut self) -> Result<Option<Photo>, TarError> {
        let mut extensions = Extensions::default();
        while !self.is_over {
            self.finish_entry()?;
            let Some(header) = self.header()? else {
                if !extensions.is_empty() {
                    return Err(TarError::Damaged("its last header is not followed by an entry"));
                }
                self.end()?;
                break;
            };
            let is_repeated = match header.kind {
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
            if is_repeated {
                return Err(TarError::Damaged("two headers of the same kind describe one entry"));
            }
        }
        Ok(None)
    }

    /// Starts an entry; `None` if it is a directory.
    fn entry(
        &mut self,
        header: &Header,
        extensions: Extensions,
    ) -> Result<Option<Photo>, TarError> {
        let Some(photo) = from_entry(header, extensions, &self.global)? else { return Ok(None) };
        if self.remaining.is_some_and(|remaining| photo.size > remaining) {
            return Err(TarError::Longer(photo.name()));
        }
        self.expect(photo.size);
        Ok(Some(photo))
    }

    /// Sets the size of the data that follow (bytes), and their padding.
    fn expect(&mut self, size: u64) {
        let block = BLOCK as u64;
        self.left = size;
        self.padding = (block - size % block) % block;
    }

    /// Skips the rest of the current entry.
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

    /// Reads the next header; `None` for the block of zeros that marks the end.
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

    /// Reads a block, less at the end of the input; returns the number of bytes.
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

    /// Reads the rest of the input after the end mark. POSIX allows any bytes there; another tar is refused,
    /// since its photos would be skipped silently.
    fn end(&mut self) -> Result<(), TarError> {
        self.is_over = true;
        let mut block = [0; BLOCK];
        while self.block(&mut block)? == BLOCK {
            // A block of zeros has none.
            if has_checksum(&block) {
                return Err(TarError::Joined);
            }
        }
        Ok(())
    }

    /// Reads the data of an extension header. Only its own header specifies its size, no pax record.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let refused = |what: &'static str| TarError::entry(&header.name, what);
        let size = header_size(header.size, header.kind).map_err(refused)?;
        if size > EXTENSION_MAX {
            return Err(refused("is an extension header of more than 1 MiB"));
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

    /// Reads a GNU long name, which ends with a NUL.
    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(header)?;
        name.pop_if(|last| *last == 0);
        Ok(name)
    }

    /// Adds global records: they apply to all later entries without records of their own for the same
    /// attribute (POSIX pax, "typeflag g").
    fn global_records(&mut self, header: &Header) -> Result<(), TarError> {
        let before = std::mem::take(&mut self.global);
        let records = self.records(header, before)?;
        let one = [(&records.path, "path"), (&records.size, "size")];
        if let Some((_, key)) = one.iter().find(|(field, _)| **field != PaxValue::Absent) {
            let what = format!("has the record {key}, which cannot apply to every entry");
            return Err(TarError::Global(what.into()));
        }
        if let Some(key) = records.sparse.as_ref().or(records.partial.as_ref()) {
            let what =
                format!("has the record {}, but no entry may be sparse or a part", shown(key));
            return Err(TarError::Global(what.into()));
        }
        if records.is_special {
            return Err(TarError::Global("marks all entries as special files".into()));
        }
        self.global = records;
        Ok(())
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads a tar from a file of `len` bytes. Unread data of photos are skipped by seeking.
    pub fn seeking(input: R, len: u64) -> Self {
        Self { skip: skip_by_seeking, ..Self::with_len(input, len) }
    }
}

impl<R: Read> Read for Reader<R> {
    /// Reads data of the current photo.
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

/// A seek beyond the end of the file succeeds; reading the next header fails then.
fn skip_by_seeking<R: Seek>(input: &mut R, len: u64) -> io::Result<()> {
    let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let len = i64::try_from(len).map_err(|_| beyond())?;
    input.seek_relative(len).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => beyond(),
        _ => error,
    })
}
