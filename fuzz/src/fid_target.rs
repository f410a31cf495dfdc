//! Targets of SeaweedFS clients: what a path names is what a second parser reads in it, and no value of a
//! query brings a line end into a response.
//!
//! Input: a target in origin form.

use hayloft::http::fid::{FidName, FidPath, FidQuery, is_fid_target, percent_decoded};
use hayloft::http::target;

use crate::http_oracle::fid::{Named, is_fid, named};

/// Runs the target.
pub fn run(data: &[u8]) {
    compare(data);
    let _ = percent_decoded(data);
    if let Some(fid) = FidName::parse(data) {
        assert!(fid.key >= fid.added);
        assert!(data.starts_with(fid.volume.to_string().as_bytes()) || data.starts_with(b"0"));
    }
}

/// Compares both parsers on a target. Returns whether it names a photo.
///
/// # Panics
/// If they do not agree.
pub fn compare(target: &[u8]) -> bool {
    assert_eq!(is_fid_target(target), is_fid(target), "{}", target.escape_ascii());
    let ours = match FidPath::parse(target) {
        Ok(FidPath::Photo(FidName { volume, key, added, cookie, segment })) => {
            let segment = String::from_utf8_lossy(segment).into_owned();
            Some(Named { volume: volume.0, key, added, cookie, segment })
        }
        _ => None,
    };
    assert_eq!(ours, named(target), "{}", target.escape_ascii());
    if ours.is_some() {
        assert!(is_fid_target(target), "{}", target.escape_ascii());
        assert!(!matches!(target::parse(target), Ok(target::Target::Object { .. })));
    }
    if let Ok(query) = FidQuery::parse(target) {
        for (_, value) in &query.overrides {
            assert!(value.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
    ours.is_some()
}
