//! A value with parameters, as `Content-Disposition` and `Content-Type` have (RFC 9110 section 5.6.6).
//!
//! It accepts more than the RFC in two ways: white space may be around the equals sign, and a value without
//! quotes may have any byte but quotes and semicolons, as names of files have.

/// The parameters of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters<'a>(Vec<Parameter<'a>>);

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    name: &'a [u8],
    /// Its value, without quotes.
    pub value: Vec<u8>,
    /// Whether the value was in quotes.
    pub is_quoted: bool,
}

/// The parameter is there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Parameters<'a> {
    /// Parses the parameters behind the type that `value` begins with; `None` if it is malformed.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        let mut types = value[..end].trim_ascii().split(|&byte| byte == b'/');
        if !types.all(is_whole_token) {
            return None;
        }
        let mut found = Vec::new();
        let mut rest = after(value, b';');
        while let Some(text) = rest {
            let text = text.trim_ascii_start();
            if text.is_empty() {
                break;
            }
            let equals = text.iter().position(|&byte| byte == b'=')?;
            let name = text[..equals].trim_ascii();
            if !is_whole_token(name) {
                return None;
            }
            let text = text[equals + 1..].trim_ascii_start();
            let is_quoted = text.first() == Some(&b'"');
            let (value, end) = if is_quoted { quoted(text)? } else { unquoted(text)? };
            found.push(Parameter { name, value, is_quoted });
            let text = text[end..].trim_ascii_start();
            if !matches!(text.first(), None | Some(b';')) {
                return None;
            }
            rest = after(text, b';');
        }
        Some(Self(found))
    }

    /// The parameter of this name, if it is there.
    ///
    /// # Errors
    /// If it is there more than once: parsers differ in which of them they take.
    pub fn single(&self, name: &[u8]) -> Result<Option<&Parameter<'a>>, Repeated> {
        let mut named = self.0.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
        let first = named.next();
        if named.next().is_some() { Err(Repeated) } else { Ok(first) }
    }
}

fn after(text: &[u8], separator: u8) -> Option<&[u8]> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some(&text[at + 1..])
}

/// A value without quotes at the front of `text`, and its length there.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
    let value = text[..end].trim_ascii();
    (!value.contains(&b'"')).then(|| (value.to_vec(), end))
}

/// Decodes a quoted string (RFC 9110 section 5.6.4) at the front of `text`, and returns its length there.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = 1;
    loop {
        match text.get(at..)? {
            [b'"', ..] => return Some((value, at + 1)),
            // A backslash before anything else is part of a name of Windows.
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(*escaped);
                at += 2;
            }
            [byte, ..] => {
                value.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// Returns whether a text is a token (RFC 9110 section 5.6.2).
pub fn is_whole_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// Returns whether a token may have this byte.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> Option<Result<Option<(String, bool)>, Repeated>> {
        let parameters = Parameters::parse(text.as_bytes())?;
        let found = parameters.single(name.as_bytes());
        let text = |it: &Parameter<'_>| String::from_utf8(it.value.clone()).unwrap();
        Some(found.map(|found| found.map(|it| (text(it), it.is_quoted))))
    }

    #[test]
    fn parameters_are_found_by_name() {
        let text = "a/b; x = y ;Z=\"; x=\\\"\\\\\"; empty=; v=1 2;";
        let found = |name| value(text, name).unwrap().unwrap();
        assert_eq!(found("X"), Some(("y".to_owned(), false)));
        assert_eq!(found("z"), Some(("; x=\"\\".to_owned(), true)));
        assert_eq!(found("empty"), Some((String::new(), false)));
        assert_eq!(found("v"), Some(("1 2".to_owned(), false)));
        assert_eq!(found("w"), None);
        assert_eq!(value("a; x=1; X=2", "x"), Some(Err(Repeated)));
    }

    #[test]
    fn malformed_values_are_found() {
        for text in [
            "",
            "; x=y",
            "\"a;x=y\"",
            "a/;x=y",
            "a; x",
            "a;; x=y",
            "a; =y",
            "a; x z=y",
            "a; x=\"y",
            "a; x=\"y\"z",
            "a; x=y\"",
            "a=b",
        ] {
            assert_eq!(Parameters::parse(text.as_bytes()), None, "{text}");
        }
    }
}
