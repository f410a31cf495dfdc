//! Paths of SeaweedFS clients: `/VID,FID[.EXT]`, `/VID/FID[.EXT]`, `/VID/FID/NAME`.

/// What a fid names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub volume: u32,
    pub key: u64,
    pub added: u64,
    pub cookie: u32,
    pub segment: String,
}

const PAGES: [&str; 3] = ["/status", "/healthz", "/readyz"];

fn path_of(target: &[u8]) -> String {
    let text = String::from_utf8_lossy(target);
    text.split('?').next().unwrap().to_owned()
}

/// Returns whether a target in origin form belongs to SeaweedFS clients.
pub fn is_fid(target: &[u8]) -> bool {
    let path = path_of(target);
    let segments: Vec<&str> = path.split('/').collect();
    PAGES.contains(&path.as_str())
        || match segments[1..] {
            [only] => only.contains(','),
            [_, second] => second != "batch" && second != "delete",
            [_, _, _] => true,
            _ => false,
        }
}

/// The photo that a target names; `None` if it is malformed, or a page.
pub fn named(target: &[u8]) -> Option<Named> {
    let path = path_of(target);
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let segment = (*parts.last()?).to_owned();
    // What follows a dot is ignored, but not where the name has a segment of its own.
    let (volume, fid) = match parts[..] {
        [only] => {
            let (volume, fid) = only.split_once(',')?;
            (volume, fid.split('.').next()?)
        }
        [volume, fid] => (volume, fid.split('.').next()?),
        [volume, fid, _] => (volume, fid),
        _ => return None,
    };
    let (hex, added) = match fid.split_once('_') {
        Some((hex, added)) => (hex, number(added, 10)?),
        None => (fid, 0),
    };
    if !(9..=24).contains(&hex.len()) || !hex.is_ascii() {
        return None;
    }
    let (key, cookie) = hex.split_at(hex.len() - 8);
    Some(Named {
        volume: u32::try_from(number(volume, 10)?).ok()?,
        key: u64::try_from(number(key, 16)?.checked_add(added)?).ok()?,
        added: u64::try_from(added).ok()?,
        cookie: u32::try_from(number(cookie, 16)?).ok()?,
        segment,
    })
}

/// A number without a sign; `None` if it is malformed or needs more than 128 bits.
fn number(text: &str, radix: u32) -> Option<u128> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    is_plain.then(|| u128::from_str_radix(text, radix).ok())?
}
