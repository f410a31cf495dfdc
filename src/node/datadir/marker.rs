//! The marker `DIR/hayloft.toml` of a data directory: format, store id and time of creation.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::DataDirError;
use super::names::{MARKER, MARKER_TEMPORARY};
use crate::base::calendar::rfc3339;

/// Format of data directories that this build reads and writes.
pub const FORMAT: i64 = 1;

/// Largest marker (bytes). A larger file is no marker.
const BYTES_MAX: u64 = 64 * 1024;

/// Permanent id of a data directory: 128 random bits, printed as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub u128);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Contents of the marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) store_id: StoreId,
    /// Time of creation: RFC 3339, in UTC.
    pub(super) created: String,
}

impl Marker {
    /// Reads the marker of a directory; `None` if it has none.
    ///
    /// The file and the directory are synced first: an earlier run may have crashed between the rename and
    /// the sync, and no write may be acknowledged while a power cut could remove the marker.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let path = directory.join(MARKER);
        let Some(file) = open(&path)? else { return Ok(None) };
        file.sync_all().map_err(|error| DataDirError::io("read the marker", &path, error))?;
        sync_directory(directory)?;
        Self::parse(&path, &content(&path, file)?).map(Some)
    }

    /// As [`Self::read`], but without the syncs: for callers that acknowledge no writes.
    pub(super) fn look(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let path = directory.join(MARKER);
        let Some(file) = open(&path)? else { return Ok(None) };
        Self::parse(&path, &content(&path, file)?).map(Some)
    }

    /// Writes a marker with a new store id. It is durable when this returns; after a crash it is either
    /// complete or absent.
    pub(super) fn create(directory: &Path) -> Result<Self, DataDirError> {
        let path = directory.join(MARKER);
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| {
            let source = io::Error::other(error.to_string());
            DataDirError::io("draw a store id for", directory, source)
        })?;
        let marker =
            Self { store_id: StoreId(u128::from_be_bytes(id)), created: utc(SystemTime::now()) };
        let temporary = directory.join(MARKER_TEMPORARY);
        write_durably(&temporary, marker.text().as_bytes())
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| DataDirError::io("create the marker", &path, error))?;
        sync_directory(directory)?;
        Ok(marker)
    }

    fn text(&self) -> String {
        format!(
            "# Marks a Hayloft data directory. Written once; do not edit.\n\
             format = {FORMAT}\n\
             store_id = \"{}\"\n\
             created = {}\n",
            self.store_id, self.created
        )
    }

    /// Parses a marker. Unknown keys are ignored: a later build of the same format may add some.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataDirError> {
        let garbled = |problem: &str| DataDirError::Garbled {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        if bytes.len() as u64 > BYTES_MAX {
            return Err(garbled("it is larger than 64 KiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| garbled("it is not text"))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| garbled(error.message()))?;
        // The format is checked first: another format may have other keys.
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(FORMAT) => {}
            Some(format) if format > FORMAT => {
                return Err(DataDirError::Format { path: path.to_owned(), format, reads: FORMAT });
            }
            _ => return Err(garbled("the key `format` is missing or not a known number")),
        }
        let store_id =
            table.get("store_id").and_then(toml::Value::as_str).and_then(parse_id).ok_or_else(
                || garbled("the key `store_id` is missing or not 32 lower-case hex digits"),
            )?;
        let created = table
            .get("created")
            .and_then(toml::Value::as_datetime)
            .ok_or_else(|| garbled("the key `created` is missing or not a date and time"))?;
        Ok(Self { store_id, created: created.to_string() })
    }
}

/// Opens the file of the marker; `None` if there is none.
fn open(path: &Path) -> Result<Option<File>, DataDirError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataDirError::io("read the marker", path, error)),
        Ok(file) => Ok(Some(file)),
    }
}

fn content(path: &Path, file: File) -> Result<Vec<u8>, DataDirError> {
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| DataDirError::io("read the marker", path, error))?;
    Ok(bytes)
}

fn parse_id(text: &str) -> Option<StoreId> {
    let strict =
        text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !strict {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(StoreId)
}

/// Makes the entries of a directory durable (fsync(2) of the directory).
pub(super) fn sync_directory(directory: &Path) -> Result<(), DataDirError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| DataDirError::io("sync the directory", directory, error))
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The last second of the year 9999 (seconds since 1970): TOML, like RFC 3339, has four digits for a year.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Formats a time as RFC 3339 in UTC, to the second. A time before 1970 becomes 1970, and one after 9999 the
/// end of 9999: with a marker that cannot be parsed, the next start could not use the directory.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    rfc3339(seconds.min(SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_before_1970_is_written_as_1970() {
        assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(86_400)), "1970-01-02T00:00:00Z");
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn marker_created_after_the_year_9999_is_read_back() {
        for seconds in [SECONDS_MAX - 1, SECONDS_MAX, SECONDS_MAX + 1, 1 << 60] {
            let created = utc(UNIX_EPOCH + Duration::from_secs(seconds));
            let marker = Marker { store_id: StoreId(7), created };
            let read = Marker::parse(Path::new(MARKER), marker.text().as_bytes());
            assert_eq!(read.unwrap(), marker);
        }
    }

    #[test]
    fn marker_round_trips_through_text() {
        let marker = Marker {
            store_id: StoreId(0x0123_4567_89ab),
            created: "2026-08-01T13:04:05Z".to_owned(),
        };
        let read = Marker::parse(Path::new(MARKER), marker.text().as_bytes());
        assert_eq!(read.unwrap(), marker);
    }

    #[test]
    fn damaged_markers_are_rejected_with_the_reason() {
        let id = "0".repeat(32);
        let date = "2026-08-01T13:04:05Z";
        for (text, problem) in [
            (String::new(), "`format` is missing"),
            ("format = 0".into(), "`format` is missing or not a known number"),
            ("format = \"1\"".into(), "`format` is missing or not a known number"),
            ("format = 1\0\0\0".into(), "is damaged"),
            ("format = 1".into(), "`store_id` is missing"),
            (format!("format = 1\nstore_id = \"{id}0\"\ncreated = {date}"), "`store_id`"),
            (format!("format = 1\nstore_id = \"+{}\"\ncreated = {date}", &id[1..]), "`store_id`"),
            (format!("format = 1\nstore_id = \"{}A\"\ncreated = {date}", &id[1..]), "`store_id`"),
            (format!("format = 1\nstore_id = \"{id}\""), "`created` is missing"),
            ("#".repeat(70_000), "larger than 64 KiB"),
        ] {
            let error = Marker::parse(Path::new("/d/hayloft.toml"), text.as_bytes())
                .expect_err(&text)
                .to_string();
            assert!(error.starts_with("/d/hayloft.toml is damaged: "), "{error}");
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        let error = Marker::parse(Path::new("m"), &[0xff]).unwrap_err().to_string();
        assert!(error.contains("it is not text"), "{error}");
        // Unknown keys are ignored.
        let more = format!("format = 1\nstore_id = \"{id}\"\ncreated = {date}\nrack = 7\n");
        assert!(Marker::parse(Path::new("m"), more.as_bytes()).is_ok());
    }

    /// The advice in the messages must itself be a valid marker.
    #[test]
    fn marker_advised_in_error_messages_parses() {
        let error = Marker::parse(Path::new("m"), b"").unwrap_err().to_string();
        let lines: Vec<&str> = error.split('`').filter(|part| part.contains(" = ")).collect();
        assert_eq!(lines.len(), 3, "{error}");
        let text = lines.join("\n").replace("<32 lower-case hex digits>", &"a".repeat(32));
        assert!(Marker::parse(Path::new("m"), text.as_bytes()).is_ok(), "{text}");
    }
}
