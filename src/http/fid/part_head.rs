//! The head of a part of a multipart form (RFC 7578 section 4).

use super::disposition::FileName;
use crate::http::reject::Reject;
use crate::http::scan::{Event, HeadLimits, Scan};

/// Largest length of the head of a part (bytes).
pub const PART_HEAD_MAX: usize = 4096;
/// Largest number of header fields of a part.
const FIELDS_MAX: u16 = 32;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: PART_HEAD_MAX as u16,
    fields_max: FIELDS_MAX,
    // There is none.
    target_bytes_max: 1,
};

const TOO_LONG: Reject = Reject::bad("the head of a part is longer than 4096 bytes or 32 fields");
const REPEATED: Reject = Reject::bad("a header of a part that may occur only once is repeated");
const FILE_NAME: Reject =
    Reject::bad("the Content-Disposition of a part is malformed, or its file name over 255 bytes");

/// The header fields of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The file name; absent in a field of the form that is no file.
    pub file_name: FileName,
    /// `Content-Type`.
    pub content_type: Option<Box<[u8]>>,
    /// Whether `Content-Encoding` is `gzip`.
    pub is_gzip: bool,
    /// `Content-MD5`; empty values count as none.
    pub content_md5: Option<Box<[u8]>>,
}

impl PartHead {
    /// Parses the head at the front of `bytes`, which begin after the boundary and CRLF. Returns it and its
    /// length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// 400 if it is malformed or too long.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Reject> {
        let mut head = Self {
            file_name: FileName::Absent,
            content_type: None,
            is_gzip: false,
            content_md5: None,
        };
        let (mut scan, mut disposition, mut coding) = (Scan::of_fields(), None, None);
        loop {
            let event = scan.step(bytes, &LIMITS);
            // The scan names the head of the request.
            let event = event.map_err(|reject| match reject.status.code() {
                400 => reject,
                _ => TOO_LONG,
            })?;
            match event {
                Event::More => return Ok(None),
                Event::End => break,
                Event::Field(field) => {
                    let (name, value) = (field.name.of(bytes), field.value.of(bytes));
                    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
                    let slot = if is("content-disposition") {
                        &mut disposition
                    } else if is("content-type") {
                        &mut head.content_type
                    } else if is("content-encoding") {
                        &mut coding
                    } else if is("content-md5") {
                        &mut head.content_md5
                    } else {
                        continue;
                    };
                    if slot.replace(Box::<[u8]>::from(value)).is_some() {
                        return Err(REPEATED);
                    }
                }
            }
        }
        head.content_md5 = head.content_md5.filter(|value| !value.is_empty());
        head.is_gzip = coding.is_some_and(|value| value.eq_ignore_ascii_case(b"gzip"));
        if let Some(value) = disposition {
            head.file_name = FileName::parse(&value);
            if head.file_name == FileName::Malformed {
                return Err(FILE_NAME);
            }
        }
        Ok(Some((head, scan.consumed())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(PartHead, usize)>, Reject> {
        PartHead::parse(text.as_bytes())
    }

    #[test]
    fn head_of_the_filer_is_parsed() {
        let text = "Content-Disposition: form-data; filename=p.txt; name=file\r\n\
                    Content-Encoding: gzip\r\nContent-Md5: kAFQmDzST7DWlj99KOF/cg==\r\n\
                    Content-Type: text/plain\r\nIdempotency-Key: http://a/3,0123456789\r\n\r\n";
        let (head, len) = parse(&format!("{text}data")).unwrap().unwrap();
        assert_eq!(len, text.len());
        assert_eq!(head.file_name, FileName::Named("p.txt".into()));
        assert_eq!(head.content_type.as_deref(), Some(&b"text/plain"[..]));
        assert_eq!(head.content_md5.as_deref(), Some(&b"kAFQmDzST7DWlj99KOF/cg=="[..]));
        assert!(head.is_gzip);
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn a_part_needs_no_fields() {
        let (head, len) = parse("\r\nx").unwrap().unwrap();
        assert_eq!((len, head.file_name, head.is_gzip), (2, FileName::Absent, false));
        let (head, _) =
            parse("Content-MD5:\r\nContent-Encoding: identity\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.content_md5, head.is_gzip), (None, false));
    }

    #[test]
    fn malformed_heads_are_refused() {
        for text in [
            "Content-Type : x\r\n\r\n",
            "Content-Type: x\n\r\n",
            " Content-Type: x\r\n\r\n",
            "Content-Type: a\r\n b\r\n\r\n",
            "Content-Type: a\r\nContent-Type: b\r\n\r\n",
            "Content-Disposition: form-data; filename=\"a\r\n\r\n",
        ] {
            assert_eq!(parse(text).map_err(|it| it.status.code()), Err(400), "{text:?}");
        }
        let long = format!("A: {}\r\n\r\n", "b".repeat(PART_HEAD_MAX));
        assert_eq!(parse(&long), Err(TOO_LONG));
        let many = "A: b\r\n".repeat(33) + "\r\n";
        assert_eq!(parse(&many), Err(TOO_LONG));
    }

    #[test]
    fn the_longest_head_is_accepted() {
        let text = format!("A: {}\r\n\r\n", "b".repeat(PART_HEAD_MAX - 7));
        assert_eq!(parse(&text).unwrap().unwrap().1, PART_HEAD_MAX);
    }
}
