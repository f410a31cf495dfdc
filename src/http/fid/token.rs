//! Tokens with which a cluster says who may read or change a photo: JSON Web Tokens (RFC 7519), signed with
//! HMAC-SHA256 (`HS256`, RFC 7518 section 3.2) by a key that master and volume servers share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::path::FidName;
use super::query::FidQuery;
use crate::http::head::Head;

/// Longest token that is looked at (bytes).
const TOKEN_MAX: usize = 4096;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// There is none.
    Missing,
    /// It is malformed, or signed otherwise.
    Wrong,
    /// Its time is over, or has not begun.
    Expired,
    /// It is for another photo.
    OtherPhoto,
}

#[derive(Deserialize)]
struct Algorithm {
    alg: String,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    #[serde(default)]
    fid: String,
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

/// A key that signs tokens.
#[derive(Clone)]
pub struct TokenKey(Box<[u8]>);

impl std::fmt::Debug for TokenKey {
    /// The key is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key with these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Checks the token of a request for a photo; `now` is in seconds since 1970. It is taken from the
    /// parameter `jwt`, else from `Authorization: Bearer`, else from the cookie `AT`. A token for a name that
    /// was assigned together with others is good for all of them.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn check(
        &self,
        head: &Head,
        bytes: &[u8],
        (fid, query): (&FidName<'_>, &FidQuery<'_>),
        now: u64,
    ) -> Result<(), BadToken> {
        let token = query.token.as_deref().filter(|token| !token.is_empty());
        let token = token.or_else(|| bearer(head, bytes)).or_else(|| cookie(head, bytes));
        self.check_token(token.ok_or(BadToken::Missing)?, fid, now)
    }

    /// Returns a token for a photo: `fid` is its name, and `expires` the time until which the token is good
    /// (seconds since 1970).
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn sign(&self, fid: &str, expires: u64) -> String {
        let claims = Claims { fid: fid.to_owned(), exp: Some(expires), nbf: None };
        let claims = serde_json::to_vec(&claims).expect("a string and a number serialize");
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn check_token(&self, token: &[u8], fid: &FidName<'_>, now: u64) -> Result<(), BadToken> {
        let claims = self.claims(token).ok_or(BadToken::Wrong)?;
        let is_over = claims.exp.is_some_and(|end| now >= end);
        if is_over || claims.nbf.is_some_and(|begin| now < begin) {
            return Err(BadToken::Expired);
        }
        let named = FidName::parse(claims.fid.as_bytes()).ok_or(BadToken::OtherPhoto)?;
        let is_same = (named.volume, named.key, named.cookie)
            == (fid.volume, fid.key.wrapping_sub(fid.added), fid.cookie);
        if is_same { Ok(()) } else { Err(BadToken::OtherPhoto) }
    }

    /// The claims of a token that this key signed.
    fn claims(&self, token: &[u8]) -> Option<Claims> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let last = token.iter().rposition(|&byte| byte == b'.')?;
        let (signed, signature) =
            (&token[..last], URL_SAFE_NO_PAD.decode(&token[last + 1..]).ok()?);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(signed);
        mac.verify_slice(&signature).ok()?;
        let mut parts = signed.split(|&byte| byte == b'.');
        let (header, payload) = (parts.next()?, parts.next()?);
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let Algorithm { alg } = serde_json::from_slice(&header).ok()?;
        if alg != "HS256" || parts.next().is_some() {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

fn bearer<'b>(head: &Head, bytes: &'b [u8]) -> Option<&'b [u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let mut fields = head.lines(bytes);
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"authorization"))?;
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

fn cookie<'b>(head: &Head, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let fields = head.lines(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
    let mut pairs = fields.flat_map(|(_, value)| value.split(|&byte| byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(b"AT="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Dialects, HeadLimits, HeadProgress, parse_as};

    fn signed(header: &str, claims: &str, key: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn own_token_is_good_for_its_photo_until_it_expires() {
        let key = TokenKey::new(b"abc");
        let token = key.sign("3,01637037d6", 1000);
        assert_eq!(
            token,
            signed(r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"fid":"3,01637037d6","exp":1000}"#, "abc")
        );
        let (named, other) =
            (FidName::parse(b"3,01637037d6").unwrap(), FidName::parse(b"3,02637037d6").unwrap());
        let check = |fid, now| key.check_token(token.as_bytes(), fid, now);
        assert_eq!((check(&named, 999), check(&named, 1000)), (Ok(()), Err(BadToken::Expired)));
        assert_eq!(check(&other, 999), Err(BadToken::OtherPhoto));
    }

    fn token(claims: &str) -> String {
        signed(r#"{"alg":"HS256","typ":"JWT"}"#, claims, "abc")
    }

    fn check(token: &str, fid: &str) -> Result<(), BadToken> {
        let fid = FidName::parse(fid.as_bytes()).unwrap();
        TokenKey::new(b"abc").check_token(token.as_bytes(), &fid, 100)
    }

    /// A token of RFC 7515 appendix A.1, which has another key and no fid.
    #[test]
    fn tokens_are_those_of_the_rfc() {
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
            eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
            dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let claims = TokenKey::new(&key).claims(token.as_bytes()).unwrap();
        assert_eq!(claims.exp, Some(1_300_819_380));
    }

    #[test]
    fn a_token_is_good_for_its_photo_and_time() {
        let good = token(r#"{"fid":"3,01637037d6","exp":101}"#);
        assert_eq!(check(&good, "3,01637037d6"), Ok(()));
        assert_eq!(check(&good, "3,1637037D6_4"), Ok(()), "assigned together");
        assert_eq!(check(&good, "3,02637037d6"), Err(BadToken::OtherPhoto));
        assert_eq!(check(&good, "4,01637037d6"), Err(BadToken::OtherPhoto));
        assert_eq!(check(&good, "3,01637037d7"), Err(BadToken::OtherPhoto));
        for (claims, expected) in [
            (r#"{"fid":"3,01637037d6"}"#, Ok(())),
            (r#"{"fid":"3,01637037d6","exp":100}"#, Err(BadToken::Expired)),
            (r#"{"fid":"3,01637037d6","exp":200,"nbf":101}"#, Err(BadToken::Expired)),
            (r#"{"exp":200}"#, Err(BadToken::OtherPhoto)),
            (r#"{"fid":5}"#, Err(BadToken::Wrong)),
            ("x", Err(BadToken::Wrong)),
        ] {
            assert_eq!(check(&token(claims), "3,01637037d6"), expected, "{claims}");
        }
    }

    #[test]
    fn what_was_signed_otherwise_is_refused() {
        let claims = r#"{"fid":"3,01637037d6"}"#;
        for token in [
            signed(r#"{"alg":"HS256"}"#, claims, "abd"),
            signed(r#"{"alg":"none"}"#, claims, "abc"),
            signed(r#"{"alg":"HS512"}"#, claims, "abc"),
            signed("{}", claims, "abc"),
            token(claims) + "x",
            token(claims).replace('.', ".."),
            String::new(),
            "..".to_owned(),
            "a".repeat(TOKEN_MAX + 1),
        ] {
            assert_eq!(check(&token, "3,01637037d6"), Err(BadToken::Wrong), "{token}");
        }
    }

    #[test]
    fn the_first_of_the_places_of_a_token_counts() {
        let found = |target: &str, fields: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut progress = HeadProgress::default();
            let head =
                parse_as(text.as_bytes(), &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress);
            let head = head.unwrap().unwrap();
            let query = FidQuery::parse(target.as_bytes()).unwrap();
            let fid = FidName::parse(b"3,01637037d6").unwrap();
            TokenKey::new(b"abc").check(&head, text.as_bytes(), (&fid, &query), 1)
        };
        let good = token(r#"{"fid":"3,01637037d6"}"#);
        let path = "/3,01637037d6";
        let in_query = format!("{path}?jwt={good}");
        let wrong = format!("{path}?jwt=wrong");
        let bearer = format!("Authorization: bearer {good}\r\n");
        let cookie = format!("Cookie: a=b; AT={good}\r\n");
        assert_eq!(found(path, ""), Err(BadToken::Missing));
        assert_eq!(found(&in_query, "Authorization: Bearer x\r\n"), Ok(()));
        assert_eq!(found(&wrong, &bearer), Err(BadToken::Wrong));
        assert_eq!(found(path, &bearer), Ok(()));
        assert_eq!(
            found(path, &format!("Authorization: Bearer x\r\n{cookie}")),
            Err(BadToken::Wrong)
        );
        assert_eq!(found(path, &cookie), Ok(()));
        assert_eq!(found(path, "Authorization: Basic x\r\n"), Err(BadToken::Missing));
    }
}
