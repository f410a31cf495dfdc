//! The chunked transfer coding, by RFC 9112 section 7.1, without what Hayloft refuses of it.

/// Decodes a whole chunked body at the front of `bytes`: its content, and its length there. `Ok(None)` if
/// it is not complete, an error if no bytes behind it could complete it.
pub fn decode(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let (mut content, mut rest) = (Vec::new(), bytes);
    loop {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, after) = rest.split_at(digits);
        if digits > 16 || digits == 0 && !rest.is_empty() {
            return Err(());
        }
        let Some(after) = line_end(after)? else { return Ok(None) };
        let size = u64::from_str_radix(str::from_utf8(size).unwrap(), 16).unwrap();
        if size == 0 {
            let rest = line_end(after)?;
            return Ok(rest.map(|rest| (content, bytes.len() - rest.len())));
        }
        if (after.len() as u64) < size {
            return Ok(None);
        }
        let (data, after) = after.split_at(usize::try_from(size).unwrap());
        content.extend_from_slice(data);
        let Some(after) = line_end(after)? else { return Ok(None) };
        rest = after;
    }
}

/// What follows a CRLF; `Ok(None)` if that is not complete.
fn line_end(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    match bytes {
        [b'\r', b'\n', rest @ ..] => Ok(Some(rest)),
        [] | [b'\r'] => Ok(None),
        _ => Err(()),
    }
}
