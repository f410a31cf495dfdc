//! Paths of SeaweedFS clients: `/VID,FID[.EXT]`, `/VID/FID[.EXT]` and `/VID/FID/NAME`, and the pages that
//! each volume server has.
//!
//! A fid has 9 to 24 hexadecimal digits of either case, of which the last eight are the cookie and the others
//! the key, and possibly `_N`: a decimal number that is added to the key, for ids that were assigned
//! together.

use std::fmt;

use crate::base::types::VolumeId;
use crate::http::digits;
use crate::http::reject::Reject;

/// Number of hexadecimal digits of a cookie.
const COOKIE_DIGITS: usize = 8;
/// Largest number of hexadecimal digits of a key.
const KEY_DIGITS_MAX: usize = 16;

const MALFORMED: Reject =
    Reject::bad("the path is not /VOLUME,FID, /VOLUME/FID or /VOLUME/FID/NAME");

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FidPath<'a> {
    /// A photo.
    Photo(FidName<'a>),
    /// `/status`: what this node is.
    Status,
    /// `/healthz`: whether this node serves.
    Health,
    /// `/readyz`: whether this node is ready to serve.
    Ready,
}

/// The name of a photo in the notation of SeaweedFS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FidName<'a> {
    /// Volume id.
    pub volume: VolumeId,
    /// Key.
    pub key: u64,
    /// Number that was added to the key that was assigned.
    pub added: u64,
    /// Cookie.
    pub cookie: u32,
    /// Last segment of the path, which names an upload that is no form.
    pub segment: &'a [u8],
}

impl fmt::Debug for FidName<'_> {
    /// Prints only the first four digits of a cookie: it is a secret, like a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{},{:x}{:04x}..", self.volume, self.key, self.cookie >> 16)
    }
}

/// Returns whether a request target belongs to this grammar and not to Hayloft's own
/// ([`crate::http::target`]), whether it is well-formed or not.
#[must_use]
pub fn is_fid_target(target: &[u8]) -> bool {
    let path = path_of(target);
    if matches!(path, b"/status" | b"/healthz" | b"/readyz") {
        return true;
    }
    let mut segments = path.split(|&byte| byte == b'/').skip(1);
    let first = segments.next().unwrap_or_default();
    match (segments.next(), segments.next(), segments.next()) {
        (None, ..) => first.contains(&b','),
        (Some(second), None, _) => !matches!(second, b"batch" | b"delete"),
        (_, Some(_), None) => true,
        (_, Some(_), Some(_)) => false,
    }
}

/// Returns a target without its query.
fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|&byte| byte == b'?');
    &target[..end.unwrap_or(target.len())]
}

impl<'a> FidPath<'a> {
    /// Parses the path of a request target.
    ///
    /// # Errors
    /// 400 if it is malformed.
    pub fn parse(target: &'a [u8]) -> Result<Self, Reject> {
        match path_of(target) {
            b"/status" => Ok(Self::Status),
            b"/healthz" => Ok(Self::Health),
            b"/readyz" => Ok(Self::Ready),
            path => photo(path).map(Self::Photo).ok_or(MALFORMED),
        }
    }
}

impl<'a> FidName<'a> {
    /// Parses a fid as clients write it in lists and tokens: `VID,FID`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (volume, fid) = split_at(text, b',')?;
        fid_name(volume, fid, text)
    }
}

fn photo(path: &[u8]) -> Option<FidName<'_>> {
    let path = path.strip_prefix(b"/")?;
    let segment = path.rsplit(|&byte| byte == b'/').next()?;
    match split_at(path, b'/') {
        None => {
            let (volume, fid) = split_at(path, b',')?;
            fid_name(volume, without_extension(fid), segment)
        }
        Some((volume, rest)) => match split_at(rest, b'/') {
            None => fid_name(volume, without_extension(rest), segment),
            Some((_, name)) if name.contains(&b'/') => None,
            Some((fid, _)) => fid_name(volume, fid, segment),
        },
    }
}

fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

fn without_extension(fid: &[u8]) -> &[u8] {
    let end = fid.iter().position(|&byte| byte == b'.');
    &fid[..end.unwrap_or(fid.len())]
}

fn fid_name<'a>(volume: &[u8], fid: &[u8], segment: &'a [u8]) -> Option<FidName<'a>> {
    let volume = digits::parse_decimal(volume).ok().and_then(|id| u32::try_from(id).ok())?;
    let (hex, added) = match split_at(fid, b'_') {
        None => (fid, 0),
        Some((hex, number)) => (hex, digits::parse_decimal(number).ok()?),
    };
    let key_len = hex.len().checked_sub(COOKIE_DIGITS)?;
    if !(1..=KEY_DIGITS_MAX).contains(&key_len) {
        return None;
    }
    let (key, cookie) = hex.split_at(key_len);
    let key = digits::parse_hex(key)?.checked_add(added)?;
    let cookie = u32::try_from(digits::parse_hex(cookie)?).ok()?;
    Some(FidName { volume: VolumeId(volume), key, added, cookie, segment })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(target: &str) -> Option<(u32, u64, u32, String)> {
        match FidPath::parse(target.as_bytes()) {
            Ok(FidPath::Photo(FidName { volume, key, cookie, segment, .. })) => {
                Some((volume.0, key, cookie, String::from_utf8_lossy(segment).into_owned()))
            }
            Ok(_) => panic!("{target} is a page"),
            Err(_) => None,
        }
    }

    #[test]
    fn a_photo_has_three_spellings() {
        let expected = |segment: &str| Some((3, 2, 0xd2dd_59a8, segment.to_owned()));
        for (target, segment) in [
            ("/3,02d2dd59a8", "3,02d2dd59a8"),
            ("/3,2D2DD59A8", "3,2D2DD59A8"),
            ("/3,02d2dd59a8.jpg", "3,02d2dd59a8.jpg"),
            ("/3,02d2dd59a8.tar.gz?ts=1", "3,02d2dd59a8.tar.gz"),
            ("/3/02d2dd59a8", "02d2dd59a8"),
            ("/3/02d2dd59a8.jpg", "02d2dd59a8.jpg"),
            ("/3/02d2dd59a8/my.photo.jpg", "my.photo.jpg"),
            ("/3/02d2dd59a8/", ""),
            ("/0003,02d2dd59a8", "0003,02d2dd59a8"),
        ] {
            assert!(is_fid_target(target.as_bytes()), "{target}");
            assert_eq!(named(target), expected(segment), "{target}");
        }
    }

    #[test]
    fn a_number_after_the_fid_is_added_to_the_key() {
        assert_eq!(named("/3,02d2dd59a8_1").map(|it| it.1), Some(3));
        assert_eq!(named("/3,0fd2dd59a8_10.jpg").map(|it| it.1), Some(25));
        assert_eq!(named("/3/02d2dd59a8_7/name_2.jpg").map(|it| it.1), Some(9));
        assert_eq!(named("/3,fffffffffffffffed2dd59a8_1").map(|it| it.1), Some(u64::MAX));
        for target in [
            "/3,ffffffffffffffffd2dd59a8_1",
            "/3,02d2dd59a8_",
            "/3,02d2dd59a8_1f",
            "/3,02d2dd59a8_-1",
            "/3,02d2dd59a8_1_1",
        ] {
            assert_eq!(named(target), None, "{target}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for target in [
            "/3,",
            "/3,02",
            "/3,d2dd59a8",
            "/3,12345678901234567d2dd59a8",
            "/,02d2dd59a8",
            "/a,02d2dd59a8",
            "/-3,02d2dd59a8",
            "/4294967296,02d2dd59a8",
            "/3,02d2dd59ag",
            "/3,02d2dd59a8,1",
            "/3, 02d2dd59a8",
            "/3,%302d2dd59a8",
            "/3/",
            "/3/x",
            "/3//02d2dd59a8",
            "//02d2dd59a8",
            "/3,02d2dd59a8/x",
        ] {
            assert!(is_fid_target(target.as_bytes()), "{target}");
            assert_eq!(named(target), None, "{target}");
        }
    }

    #[test]
    fn own_targets_of_hayloft_belong_to_its_grammar() {
        for target in [
            "/",
            "/3",
            "/3?x",
            "/3/batch",
            "/3/delete",
            "/1/2/3/0123456789abcdef",
            "/1/2/3/0123456789abcdef?x",
            "/1/2/3/0123456789abcdef/5",
            "/status2",
            "",
        ] {
            assert!(!is_fid_target(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn pages_of_a_volume_server_are_recognised() {
        assert_eq!(FidPath::parse(b"/status"), Ok(FidPath::Status));
        assert_eq!(FidPath::parse(b"/healthz?x=1"), Ok(FidPath::Health));
        assert_eq!(FidPath::parse(b"/readyz"), Ok(FidPath::Ready));
        assert!(is_fid_target(b"/status") && is_fid_target(b"/readyz?"));
    }

    #[test]
    fn debug_output_truncates_the_cookie() {
        let name = FidName::parse(b"3,2d2dd59a8").unwrap();
        assert_eq!(format!("{name:?}"), "/3,2d2dd..");
    }

    proptest! {
        #[test]
        fn every_fid_is_parsed(volume: u32, key: u64, cookie: u32) {
            let text = format!("{volume},{key:x}{cookie:08x}");
            let name = FidName::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((name.volume.0, name.key, name.cookie), (volume, key, cookie));
            let path = format!("/{text}");
            let is_photo = matches!(FidPath::parse(path.as_bytes()), Ok(FidPath::Photo(_)));
            prop_assert!(is_photo);
        }

        /// No target of Hayloft's own grammar is a fid.
        #[test]
        fn grammars_do_not_overlap(text in "/[0-9a-f,/_.]{0,40}") {
            let is_own = crate::http::target::parse(text.as_bytes()).is_ok();
            prop_assert!(!(is_own && is_fid_target(text.as_bytes())));
        }
    }
}
