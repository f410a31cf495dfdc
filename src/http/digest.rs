//! Digests of request bodies, and their verification: `Content-MD5` (RFC 1864), `Content-Digest` and
//! `Repr-Digest` (RFC 9530).
//!
//! An upload has no content coding and is never a part, so that content and representation are the same
//! bytes, and all three fields apply to them. Of the algorithms in a dictionary, `md5`, `sha-256` and `xxh3`
//! are verified, all that are present; others are ignored (RFC 9530 section 2). `xxh3` is specific to
//! Hayloft: the XXH3-64 of the bytes in big-endian order, as in the digits of the `ETag`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use xxhash_rust::xxh3::Xxh3Default;

use super::dictionary::each_member;
use super::reject::Reject;

/// Base64 as RFC 9651 section 4.2.7 has it decoded: padding may be missing, and the unused bits of the last
/// character may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const CONTENT_MD5: Reject =
    Reject::bad("Content-MD5 is malformed; send the base64 of the 16 bytes of the MD5");
const MALFORMED: Reject = Reject::bad(
    "Content-Digest or Repr-Digest is malformed; send ALGORITHM=:BASE64: of 16 bytes for md5, 32 for \
     sha-256, 8 for xxh3",
);
const CONTRADICTORY: Reject =
    Reject::bad("the digests in the request contradict each other; send those of the body");

/// Expected digests by algorithm; `None` for an algorithm without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    xxh3: Option<[u8; 8]>,
}

impl Digests {
    /// Adds the digests in a line of `Content-Digest` or `Repr-Digest`. If an algorithm occurs twice, the
    /// last digest is used (RFC 9651 section 4.2.2).
    ///
    /// # Errors
    /// 400 if the line is malformed or a digest has the wrong length.
    pub fn take_dictionary(&mut self, value: &[u8]) -> Result<(), Reject> {
        let taken = each_member(value, |algorithm, encoded| {
            match algorithm {
                b"md5" => self.md5 = Some(decode(encoded)?),
                b"sha-256" => self.sha256 = Some(decode(encoded)?),
                b"xxh3" => self.xxh3 = Some(decode(encoded)?),
                _ => {}
            }
            Some(())
        });
        taken.ok_or(MALFORMED)
    }

    /// Sets the MD5 to the value of `Content-MD5`.
    ///
    /// # Errors
    /// 400 if it is malformed.
    pub fn take_content_md5(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.md5 = Some(decode(value).ok_or(CONTENT_MD5)?);
        Ok(())
    }

    /// Combines these digests with those of another field.
    ///
    /// # Errors
    /// 400 if the two have different digests for the same algorithm.
    pub fn and(self, other: Self) -> Result<Self, Reject> {
        Ok(Self {
            md5: both(self.md5, other.md5)?,
            sha256: both(self.sha256, other.sha256)?,
            xxh3: both(self.xxh3, other.xxh3)?,
        })
    }

    /// Returns a verifier for the body; `None` if there are no digests.
    #[must_use]
    pub fn verifier(self) -> Option<Verifier> {
        (self != Self::default()).then(|| Verifier {
            md5: self.md5.map(|expected| (Md5::new(), expected)),
            sha256: self.sha256.map(|expected| (Sha256::new(), expected)),
            xxh3: self.xxh3.map(|expected| (Xxh3Default::new(), expected)),
        })
    }
}

fn both<T: Copy + PartialEq>(one: Option<T>, other: Option<T>) -> Result<Option<T>, Reject> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(CONTRADICTORY),
        _ => Ok(one.or(other)),
    }
}

fn decode<const N: usize>(encoded: &[u8]) -> Option<[u8; N]> {
    // The decoder requires space for a few bytes more than the result.
    let mut bytes = [0; 64];
    let len = BASE64.decode_slice(encoded, &mut bytes).ok()?;
    bytes[..len].try_into().ok()
}

/// Verifies a body piece by piece while it is received.
pub struct Verifier {
    md5: Option<(Md5, [u8; 16])>,
    sha256: Option<(Sha256, [u8; 32])>,
    xxh3: Option<(Xxh3Default, [u8; 8])>,
}

impl Verifier {
    /// Adds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some((state, _)) = &mut self.md5 {
            state.update(bytes);
        }
        if let Some((state, _)) = &mut self.sha256 {
            state.update(bytes);
        }
        if let Some((state, _)) = &mut self.xxh3 {
            state.update(bytes);
        }
    }

    /// Compares the digests of the body with the expected ones.
    ///
    /// # Errors
    /// 400 if one does not match.
    pub fn finish(self) -> Result<(), Reject> {
        let Self { md5, sha256, xxh3 } = self;
        if md5.is_some_and(|(state, expected)| state.finalize()[..] != expected) {
            let reason =
                "the MD5 of the body does not match that in the request; nothing was stored";
            return Err(Reject::bad(reason));
        }
        if sha256.is_some_and(|(state, expected)| state.finalize()[..] != expected) {
            let reason =
                "the SHA-256 of the body does not match that in the request; nothing was stored";
            return Err(Reject::bad(reason));
        }
        let number = |bytes: [u8; 8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if xxh3.is_some_and(|(state, expected)| state.digest() != number(expected)) {
            let reason =
                "the XXH3-64 of the body does not match that in the request; nothing was stored";
            return Err(Reject::bad(reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABC_MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";
    const ABC_SHA256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn xxh3(bytes: &[u8]) -> String {
        let sum = xxhash_rust::xxh3::xxh3_64(bytes);
        // The hexadecimal digits of the ETag, two per byte.
        let digits = format!("{sum:016x}");
        let pairs =
            (0..16).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        BASE64.encode(pairs.collect::<Vec<_>>())
    }

    fn dictionary(value: &str) -> Result<Digests, Reject> {
        let mut digests = Digests::default();
        digests.take_dictionary(value.as_bytes())?;
        Ok(digests)
    }

    fn verified(digests: Digests, pieces: &[&[u8]]) -> bool {
        let mut verifier = digests.verifier().expect("there is something to verify");
        pieces.iter().for_each(|piece| verifier.update(piece));
        verifier.finish().is_ok()
    }

    #[test]
    fn known_digests_match_their_bytes_and_no_others() {
        let sum = xxh3(b"abc");
        for field in [
            format!("md5=:{ABC_MD5}:"),
            format!("sha-256=:{ABC_SHA256}:"),
            format!("xxh3=:{sum}:"),
            format!("sha-256=:{ABC_SHA256}:, md5=:{ABC_MD5}:, xxh3=:{sum}:, foo=:AAAA:"),
        ] {
            let digests = dictionary(&field).unwrap();
            assert!(verified(digests, &[b"abc"]), "{field}");
            assert!(verified(digests, &[b"", b"a", b"bc"]), "{field}");
            for other in [&b""[..], b"ab", b"abd", b"abcd"] {
                assert!(!verified(digests, &[other]), "{field}");
            }
        }
        let mut digests = Digests::default();
        digests.take_content_md5(ABC_MD5.as_bytes()).unwrap();
        assert!(verified(digests, &[b"abc"]) && !verified(digests, &[b"abd"]));
    }

    #[test]
    fn every_known_algorithm_must_match() {
        let (wrong, sum) = ("AAAAAAAAAAAAAAAAAAAAAA==", xxh3(b"abc"));
        for field in [
            format!("md5=:{wrong}:, sha-256=:{ABC_SHA256}:, xxh3=:{sum}:"),
            format!("xxh3=:{sum}:, sha-256=:{ABC_SHA256}:, md5=:{wrong}:"),
            format!("xxh3=:AAAAAAAAAAA=:, sha-256=:{ABC_SHA256}:, md5=:{ABC_MD5}:"),
        ] {
            assert!(!verified(dictionary(&field).unwrap(), &[b"abc"]), "{field}");
        }
    }

    #[test]
    fn unknown_algorithms_are_not_verified() {
        for field in ["sha-512=:AAAA:", "foo=::", "md5x=:AAAA:, adler=:AAAA:;x=1"] {
            assert!(dictionary(field).unwrap().verifier().is_none(), "{field}");
        }
    }

    #[test]
    fn the_last_digest_of_an_algorithm_is_used() {
        let field = format!("md5=:AAAAAAAAAAAAAAAAAAAAAA==:, md5=:{ABC_MD5}:");
        assert!(verified(dictionary(&field).unwrap(), &[b"abc"]));
        let mut digests = dictionary(&format!("md5=:{ABC_MD5}:")).unwrap();
        digests.take_dictionary(b"md5=:AAAAAAAAAAAAAAAAAAAAAA==:").unwrap();
        assert!(!verified(digests, &[b"abc"]));
    }

    #[test]
    fn missing_padding_and_unused_bits_are_accepted() {
        for md5 in ["kAFQmDzST7DWlj99KOF/cg", "kAFQmDzST7DWlj99KOF/ch=="] {
            assert!(verified(dictionary(&format!("md5=:{md5}:")).unwrap(), &[b"abc"]), "{md5}");
        }
    }

    #[test]
    fn malformed_digests_are_refused() {
        let long = "A".repeat(2000);
        for field in [
            "",
            "md5",
            "md5=::",
            "md5=:AAAA:",
            "md5=:AAAAAAAAAAAAAAAAAAAAA=:",
            "md5=:AA=A:",
            "md5=:=:",
            "sha-256=:AAAAAAAAAAAAAAAAAAAAAA==:",
            "xxh3=:AAAAAAAAAAAA:",
            "md5=900150983cd24fb0d6963f7d28e17f72",
            "MD5=:kAFQmDzST7DWlj99KOF/cg==:",
            "sha-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            &format!("sha-256=:{long}:"),
        ] {
            assert_eq!(dictionary(field), Err(MALFORMED), "{field}");
        }
        for value in ["", "AAAA", "900150983cd24fb0d6963f7d28e17f72", ":kAFQmDzST7DWlj99KOF/cg==:"]
        {
            let taken = Digests::default().take_content_md5(value.as_bytes());
            assert_eq!(taken, Err(CONTENT_MD5), "{value}");
        }
    }

    #[test]
    fn fields_must_not_contradict_each_other() {
        let (one, other) =
            (dictionary("md5=:AAAAAAAAAAAAAAAAAAAAAA==:"), dictionary("xxh3=:AAAAAAAAAAA=:"));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.and(one), Ok(one));
        assert_eq!(one.and(Digests::default()), Ok(one));
        let all = one.and(other).unwrap();
        assert_eq!((all.md5, all.xxh3, all.sha256), (one.md5, other.xxh3, None));
        assert_eq!(
            all.and(dictionary("md5=:AAAAAAAAAAAAAAAAAAAAAQ==:").unwrap()),
            Err(CONTRADICTORY)
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Digests::default().take_content_md5(&value);
            let _ = Digests::default().take_dictionary(&value);
            let value = [b"sha-256=:", &value[..], b":"].concat();
            let _ = Digests::default().take_dictionary(&value);
        }

        #[test]
        fn a_body_in_two_pieces_is_verified(body: Vec<u8>, cut: prop::sample::Index, flip: bool) {
            let at = cut.index(body.len() + 1);
            let (md5, sha256) = (BASE64.encode(Md5::digest(&body)), BASE64.encode(Sha256::digest(&body)));
            let sum = xxh3(&body);
            let digests = dictionary(&format!("md5=:{md5}:,sha-256=:{sha256}:,xxh3=:{sum}:")).unwrap();
            let mut arrived = body.clone();
            if flip && at < arrived.len() {
                arrived[at] ^= 1;
            }
            prop_assert_eq!(verified(digests, &[&arrived[..at], &arrived[at..]]), arrived == body);
        }
    }
}
