//! Tokens: one that is accepted is signed by the key, unchanged, within its time and for the photo asked for.
//!
//! Input: where the token is, whether and which byte of it is changed, the time, the length of its header,
//! its header, its claims. The photo is always the same one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayloft::http::fid::{BadToken, FidPath, FidQuery, TokenKey};
use hayloft::http::head::{Dialects, HeadLimits, HeadProgress, parse_as};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::http_oracle::fid::{Named, named};
use crate::input::Input;

const KEY: &[u8] = b"secret";
/// The photo: the second of those that were assigned together.
const TARGET: &str = "/3,01637037d6_1";
/// Longer ones do not fit into a head.
const CLAIMS_MAX: usize = 1000;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (place, change, at, now) = (input.u8() % 4, input.u8(), input.u16(), input.u64());
    let header = usize::from(input.u8());
    let (header, claims) = (input.take(header), input.take(CLAIMS_MAX));
    if place == 3 {
        let result = check(&format!("{TARGET}?jwt=x"), &[b"Cookie: AT=", claims].concat(), now);
        assert!(result != Some(Ok(())), "nothing was signed");
        return;
    }
    let mut token = sign(header, claims);
    if change != 0 {
        let at = usize::from(at) % token.len();
        token[at] ^= change;
    }
    let Ok(text) = str::from_utf8(&token) else { return };
    let result = match place {
        0 => check(&format!("{TARGET}?jwt={text}"), b"Authorization: Bearer x", now),
        1 => check(TARGET, format!("Authorization: bearer {text}").as_bytes(), now),
        _ => check(TARGET, format!("Cookie: A=b; AT={text}; C=d").as_bytes(), now),
    };
    match result {
        Some(Ok(())) => {
            assert_eq!(change, 0, "a changed token");
            accepted(header, claims, now);
        }
        Some(Err(BadToken::Missing)) => assert_ne!(change, 0, "the token was not found"),
        _ => {}
    }
}

fn sign(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let mut token = URL_SAFE_NO_PAD.encode(header) + "." + &URL_SAFE_NO_PAD.encode(claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any length is a key");
    mac.update(token.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    token = token + "." + &signature;
    token.into_bytes()
}

/// The verdict on a request; `None` if its head or target is malformed.
fn check(target: &str, field: &[u8], now: u64) -> Option<Result<(), BadToken>> {
    let line = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n");
    let bytes = [line.as_bytes(), field, b"\r\n\r\n"].concat();
    let mut progress = HeadProgress::default();
    let head = parse_as(&bytes, &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress).ok()??;
    let target = head.target.of(&bytes);
    let Ok(FidPath::Photo(fid)) = FidPath::parse(target) else { return None };
    let query = FidQuery::parse(target).ok()?;
    Some(TokenKey::new(KEY).check(&head, &bytes, (&fid, &query), now))
}

/// Checks what an accepted token says, as far as it is an object with each claim once.
fn accepted(header: &[u8], claims: &[u8], now: u64) {
    let header: Value = serde_json::from_slice(header).expect("JSON");
    let claims: Value = serde_json::from_slice(claims).expect("JSON");
    if header.is_object() {
        assert_eq!(header["alg"], "HS256");
    }
    if !claims.is_object() {
        return;
    }
    let number = |name: &str| claims.get(name).filter(|value| !value.is_null()).map(Value::as_u64);
    assert!(number("exp").is_none_or(|end| end.is_some_and(|end| now < end)), "{claims}");
    assert!(number("nbf").is_none_or(|begin| begin.is_some_and(|begin| begin <= now)), "{claims}");
    let fid = claims["fid"].as_str().expect("a name");
    let Named { volume, key, cookie, .. } = named(format!("/{fid}").as_bytes()).expect("a fid");
    assert_eq!((volume, key, cookie), (3, 1, 0x6370_37d6), "{claims}");
}
