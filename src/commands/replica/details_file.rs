//! Details of listed objects in a temporary file, until it is known which objects differ.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};

use super::object_details::ObjectDetails;

/// The columns of an object, as a line of JSON: damaged, size, content type, modified, expires.
type Columns = (bool, Option<u64>, Option<String>, Option<u64>, Option<u64>);

/// Details of objects, about 60 bytes each, in a temporary file without a name.
#[derive(Debug)]
pub(super) struct DetailsFile {
    file: BufWriter<File>,
    len: u64,
}

impl DetailsFile {
    pub(super) fn create() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?), len: 0 })
    }

    /// Appends details. Returns their place.
    pub(super) fn push(&mut self, details: ObjectDetails) -> io::Result<u64> {
        let ObjectDetails { damaged, size, content_type, modified, expires } = details;
        let columns: Columns = (damaged, size, content_type, modified, expires);
        let mut line = serde_json::to_vec(&columns)?;
        line.push(b'\n');
        let place = self.len;
        self.len += line.len() as u64;
        self.file.write_all(&line)?;
        Ok(place)
    }

    /// Returns the details at a place.
    pub(super) fn read(&mut self, place: u64) -> io::Result<ObjectDetails> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(place))?;
        let mut line = String::new();
        BufReader::with_capacity(512, file).read_line(&mut line)?;
        let columns: Columns = serde_json::from_str(&line)?;
        let (damaged, size, content_type, modified, expires) = columns;
        Ok(ObjectDetails { damaged, size, content_type, modified, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_read_back_in_any_order() {
        let mut file = DetailsFile::create().unwrap();
        let details = |n: u64| ObjectDetails {
            damaged: n.is_multiple_of(2),
            size: Some(n),
            content_type: Some("\n\u{fffd}\"".repeat(usize::try_from(n).unwrap())),
            modified: Some(u64::MAX),
            expires: None,
        };
        let places: Vec<u64> = (0..300).map(|n| file.push(details(n)).unwrap()).collect();
        for n in (0..300).rev() {
            let place = places[usize::try_from(n).unwrap()];
            assert_eq!(file.read(place).unwrap(), details(n));
        }
    }
}
