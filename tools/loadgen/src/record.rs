//! Converts the daemon's access trace to a trace for replay.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hayloft::base::access_trace::{HEADER_LEN, Header, Method, RECORD_LEN, Record};

use crate::error::Error;
use crate::trace::encode;

/// Statuses of reads that found their object; with 304 the body was not sent.
const FOUND: [u16; 3] = [200, 206, 304];

/// Result of a conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Requests in the access traces.
    pub records: u64,
    /// Reads that found their object: requests in the new trace.
    pub requests: u64,
    /// Distinct objects in the new trace.
    pub objects: u64,
}

fn read(path: &Path, records: &mut Vec<Record>) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::file("read", path))?;
    let mut file = BufReader::new(file);
    let with_location =
        |error: &dyn std::fmt::Display| Error::Failed(format!("{}: {error}", path.display()));
    let mut header = [0; HEADER_LEN];
    if let Err(error) = file.read_exact(&mut header) {
        return Err(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                with_location(&hayloft::base::access_trace::TraceError::NoTrace)
            }
            _ => Error::file("read", path)(error),
        });
    }
    Header::decode(&header).map_err(|error| with_location(&error))?;
    loop {
        let mut record = [0; RECORD_LEN];
        match file.read_exact(&mut record) {
            Ok(()) => records.push(Record::decode(&record)),
            // The daemon stopped while it wrote the last record.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(Error::file("read", path)(error)),
        }
    }
}

/// Whether both paths lead to the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Converts access traces, for instance of several shards, to one in the format oracleGeneral, which has the
/// reads that found their object, by time.
///
/// # Errors
/// When a file cannot be read or written, is not an access trace, or is also the destination; and when no
/// request is a read that found its object.
pub fn convert(from: &[PathBuf], to: &Path) -> Result<Converted, Error> {
    let mut records = Vec::new();
    for path in from {
        if is_same(path, to) {
            return Err(Error::Usage(format!(
                "--to {} would replace the trace that --from reads; name another file",
                to.display()
            )));
        }
        read(path, &mut records)?;
    }
    let all = records.len() as u64;
    records.retain(|record| record.method == Method::Get && FOUND.contains(&record.status));
    if records.is_empty() {
        return Err(Error::Failed(format!(
            "none of {all} requests is a read that found its object: there is nothing to replay"
        )));
    }
    records.sort_by_key(|record| record.time);
    let mut next_of = HashMap::new();
    let mut nexts = vec![None; records.len()];
    for (at, record) in records.iter().enumerate().rev() {
        // The first request has number 1.
        nexts[at] = next_of.insert(record.object, at as u64 + 1);
    }
    let began = records.first().map_or(0, |record| record.time);
    let file = File::create(to).map_err(Error::file("create", to))?;
    let mut file = BufWriter::new(file);
    for (record, next) in records.iter().zip(&nexts) {
        let seconds = u32::try_from((record.time - began) / 1_000_000_000).unwrap_or(u32::MAX);
        let encoded = encode(seconds, record.object, record.size, *next);
        file.write_all(&encoded).map_err(Error::file("write", to))?;
    }
    file.flush().map_err(Error::file("write", to))?;
    Ok(Converted { records: all, requests: records.len() as u64, objects: next_of.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: u64, object: u64, method: Method, status: u16) -> Record {
        let (size, service_us, flags, volume) = (100 * u32::try_from(object).unwrap(), 50, 0, 1);
        Record {
            time: time * 1_000_000_000,
            object,
            size,
            service_us,
            status,
            method,
            flags,
            volume,
        }
    }

    fn write(path: &Path, records: &[Record], cut: usize) {
        let header = Header { threshold: u64::MAX, started: 0 };
        let mut bytes = header.encode().to_vec();
        records.iter().for_each(|record| bytes.extend_from_slice(&record.encode()));
        bytes.truncate(bytes.len() - cut);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn reads_of_all_shards_are_merged_by_time_with_their_next_access() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, to] = ["0", "1", "out"].map(|name| dir.path().join(name));
        let (get, put) = (Method::Get, Method::Put);
        write(
            &first,
            &[record(10, 1, get, 200), record(13, 1, get, 206), record(14, 9, put, 201)],
            0,
        );
        // The last record is incomplete.
        write(
            &second,
            &[record(11, 2, get, 200), record(12, 3, get, 404), record(15, 2, get, 200)],
            7,
        );
        let converted = convert(&[first, second], &to).unwrap();
        assert_eq!(converted, Converted { records: 5, requests: 3, objects: 2 });
        let expected =
            [encode(0, 1, 100, Some(3)), encode(1, 2, 200, None), encode(3, 1, 100, None)];
        assert_eq!(std::fs::read(&to).unwrap(), expected.concat());
    }

    #[test]
    fn a_conversion_never_replaces_its_source_or_writes_an_empty_trace() {
        let dir = tempfile::tempdir().unwrap();
        let [trace, link, none] = ["trace", "link", "none"].map(|name| dir.path().join(name));
        write(&trace, &[record(10, 1, Method::Get, 200)], 0);
        std::os::unix::fs::symlink(&trace, &link).unwrap();
        let before = std::fs::read(&trace).unwrap();
        let refused = convert(std::slice::from_ref(&trace), &link).unwrap_err().to_string();
        assert!(refused.contains("would replace the trace"), "{refused}");
        assert_eq!(std::fs::read(&trace).unwrap(), before);
        write(&trace, &[record(10, 1, Method::Put, 201)], 0);
        let nothing = convert(std::slice::from_ref(&trace), &none).unwrap_err().to_string();
        assert!(nothing.contains("none of 1 requests"), "{nothing}");
        assert!(!none.exists());
    }

    #[test]
    fn files_that_are_no_access_trace_are_rejected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let to = file.path().with_extension("out");
        for bytes in [&b""[..], &[0; 100]] {
            std::fs::write(file.path(), bytes).unwrap();
            let error = convert(&[file.path().to_owned()], &to).unwrap_err().to_string();
            assert!(error.contains("no access trace"), "{error}");
        }
        assert!(!to.exists());
    }
}
