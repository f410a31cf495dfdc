//! Multipart forms, by RFC 2046 section 5.1.1 and RFC 7578, without what Hayloft refuses of them: a
//! preamble, an epilogue but one CRLF, white space behind a boundary, and a boundary at the begin of a line
//! that ends no part.

use super::{field_line, is_token};

/// The file of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `None` if the part has no file name.
    pub name: Option<String>,
    pub content_type: Option<Vec<u8>>,
    pub is_gzip: bool,
    pub content_md5: Option<Vec<u8>>,
    pub data: Vec<u8>,
}

/// Most bytes of a form besides its file, and of the head of a part.
const FIELDS_MAX: usize = 65_536;
const HEAD_MAX: usize = 4096;
const HEAD_FIELDS_MAX: usize = 32;

/// The boundary in the value of `Content-Type`: `None` if that is no form, an error if it has none.
pub fn boundary(content_type: &[u8]) -> Option<Result<Vec<u8>, ()>> {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap();
    if !trimmed(media_type).eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let Some(parameters) = parameters(content_type) else { return Some(Err(())) };
    let [(_, value, is_quoted)] = &of_name(&parameters, "boundary")[..] else {
        return Some(Err(()));
    };
    let is_valid = (*is_quoted || is_token(value))
        && (1..=70).contains(&value.len())
        && !value.ends_with(b" ")
        && value.iter().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b));
    Some(if is_valid { Ok(value.clone()) } else { Err(()) })
}

/// The file of a whole body.
pub fn file(body: &[u8], boundary: &[u8]) -> Result<File, ()> {
    let delimiter = [b"\r\n--", boundary].concat();
    // The first boundary has no CRLF in front.
    let text = [b"\r\n", body].concat();
    let pieces = split(&text, &delimiter);
    let [before, parts @ .., last] = &pieces[..] else { return Err(()) };
    if !before.is_empty() || parts.is_empty() || !matches!(*last, b"--" | b"--\r\n") {
        return Err(());
    }
    let mut files = Vec::new();
    for part in parts {
        let part = part.strip_prefix(b"\r\n").ok_or(())?;
        files.push((part_of(part, &delimiter[2..])?, part.len() + 2 + delimiter.len()));
    }
    let named: Vec<usize> = (0..files.len()).filter(|&at| files[at].0.name.is_some()).collect();
    let others = files.iter().filter(|(file, _)| file.name.is_none());
    if named.len() > 1 || others.map(|(_, len)| len).sum::<usize>() > FIELDS_MAX {
        return Err(());
    }
    Ok(files.swap_remove(named.first().copied().unwrap_or(0)).0)
}

/// The pieces of `text` between all delimiters.
fn split<'a>(mut text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = text.windows(delimiter.len()).position(|window| window == delimiter) {
        pieces.push(&text[..at]);
        text = &text[at + delimiter.len()..];
    }
    pieces.push(text);
    pieces
}

/// Parses a part; `line` is a boundary at the begin of a line.
fn part_of(part: &[u8], line: &[u8]) -> Result<File, ()> {
    let (mut fields, mut rest) = (Vec::new(), part);
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(())?;
        let (text, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        if text.is_empty() {
            break;
        }
        if text.starts_with(line) {
            return Err(());
        }
        fields.push(field_line(text).map_err(|_| ())?);
    }
    if part.len() - rest.len() > HEAD_MAX
        || fields.len() > HEAD_FIELDS_MAX
        || rest.starts_with(line)
    {
        return Err(());
    }
    let single = |name: &str| {
        let mut values = fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(()) } else { Ok(first.cloned()) }
    };
    let disposition = single("content-disposition")?;
    Ok(File {
        name: disposition.map(|value| file_name(&value)).transpose()?.flatten(),
        content_type: single("content-type")?,
        is_gzip: single("content-encoding")?.is_some_and(|v| v.eq_ignore_ascii_case(b"gzip")),
        content_md5: single("content-md5")?.filter(|value| !value.is_empty()),
        data: rest.to_vec(),
    })
}

/// The file name in the value of `Content-Disposition`; `None` without one.
pub fn file_name(value: &[u8]) -> Result<Option<String>, ()> {
    let parameters = parameters(value).ok_or(())?;
    let plain = match &of_name(&parameters, "filename")[..] {
        [] => None,
        [(_, value, _)] => Some(value.clone()),
        _ => return Err(()),
    };
    let extended = match &of_name(&parameters, "filename*")[..] {
        [] => None,
        [(_, value, _)] => Some(extended_value(value)?),
        _ => return Err(()),
    };
    let Some(name) = extended.or(plain) else { return Ok(None) };
    let name = String::from_utf8(name).map_err(|_| ())?;
    let name = name.split('/').next_back().unwrap();
    let is_valid = name.len() <= 255 && !name.chars().any(char::is_control);
    if is_valid { Ok(Some(name.to_owned())) } else { Err(()) }
}

/// RFC 8187: character set, language and percent-encoded text, between apostrophes.
fn extended_value(value: &[u8]) -> Result<Vec<u8>, ()> {
    let text = String::from_utf8_lossy(value).into_owned();
    let [charset, _, encoded] = text.splitn(3, '\'').collect::<Vec<_>>()[..] else {
        return Err(());
    };
    if !charset.eq_ignore_ascii_case("utf-8") || !value.is_ascii() {
        return Err(());
    }
    let mut pieces = encoded.split('%');
    let mut decoded = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let digits =
            piece.get(..2).filter(|d| d.chars().all(|c| c.is_ascii_hexdigit())).ok_or(())?;
        decoded.push(u8::from_str_radix(digits, 16).unwrap());
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Ok(decoded)
}

/// Names in lower case, values, and whether these were in quotes.
type Parameters = Vec<(String, Vec<u8>, bool)>;

fn of_name<'a>(parameters: &'a Parameters, name: &str) -> Vec<&'a (String, Vec<u8>, bool)> {
    parameters.iter().filter(|(known, ..)| known == name).collect()
}

/// The parameters after a type. White space may be around both. A value is
/// in quotes, or anything else without them; in quotes a backslash before a quote or a backslash is dropped.
fn parameters(value: &[u8]) -> Option<Parameters> {
    let mut pieces = Vec::new();
    let (mut piece, mut in_quotes, mut at) = (Vec::new(), false, 0);
    while at < value.len() {
        match value[at] {
            b';' if !in_quotes => pieces.push(std::mem::take(&mut piece)),
            b'\\' if in_quotes && matches!(value.get(at + 1), Some(b'"' | b'\\')) => {
                piece.extend_from_slice(&value[at..at + 2]);
                at += 1;
            }
            byte => {
                in_quotes ^= byte == b'"';
                piece.push(byte);
            }
        }
        at += 1;
    }
    pieces.push(piece);
    let mut types = trimmed(&pieces[0]).split(|&byte| byte == b'/');
    if in_quotes || !types.all(|part| !part.is_empty() && is_token(part)) {
        return None;
    }
    let mut parameters = Vec::new();
    for (number, piece) in pieces.iter().enumerate().skip(1) {
        let piece = trimmed(piece);
        // Nothing may follow the last semicolon.
        if piece.is_empty() && number == pieces.len() - 1 {
            break;
        }
        let equals = piece.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (trimmed(&piece[..equals]), trimmed(&piece[equals + 1..]));
        if name.is_empty() || !is_token(name) {
            return None;
        }
        let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
        parameters.push((name, unquoted(value)?, value.starts_with(b"\"")));
    }
    Some(parameters)
}

fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"')).then(|| value.to_vec());
    };
    let (mut text, mut at) = (Vec::new(), 0);
    loop {
        match inner.get(at)? {
            // The closing quote is the last byte.
            b'"' => return (at + 1 == inner.len()).then_some(text),
            b'\\' if matches!(inner.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            _ => {}
        }
        text.push(inner[at]);
        at += 1;
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}
