//! The requests that carry a change to another node, as the volume servers of a cluster send them to each
//! other.

use std::fmt::Write as _;

use crate::base::cluster::record_flags::{CHUNK_MANIFEST, GZIP};
use crate::http::fid::{write_disposition_of_form, write_pairs};
use crate::node::shard::object_name::ObjectName;
use crate::volume::ClusterAttributes;

/// Header field that says which of two writes to one name is the later one. Only Hayloft nodes send it.
pub const ORIGIN_FIELD: &str = "X-Hayloft-Origin";
/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// Where a change is sent, and what permits it.
pub struct Destination<'a> {
    /// Name of the node: `HOST:PORT`.
    pub host: &'a str,
    /// Token that the cluster demands, if it does.
    pub token: Option<&'a str>,
    /// Origin version of the change.
    pub origin: u64,
}

/// Length of the data of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataLen {
    /// A body of this length (bytes).
    Known(u64),
    /// Not known before the end: the data is sent in chunks.
    InChunks,
}

/// An upload to another node: what is sent before the data of the file, and what after it.
pub struct UploadMessage {
    /// Head of the request and of the part of the form.
    pub front: Vec<u8>,
    /// End of the form.
    pub back: Vec<u8>,
}

/// What an upload says about the file.
pub struct CopiedFile<'a> {
    /// The name.
    pub object: ObjectName,
    /// Content type.
    pub content_type: Option<&'a [u8]>,
    /// What the cluster stores with it.
    pub attributes: ClusterAttributes<'a>,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
}

/// Returns a fid as it stands in a path, after the volume id.
pub fn fid(object: &ObjectName) -> String {
    format!("{},{:x}{:08x}", object.volume, object.id.key.0, object.cookie.0)
}

impl UploadMessage {
    /// Composes an upload. `boundary` must not be in the data.
    pub fn new(
        file: &CopiedFile<'_>,
        destination: &Destination<'_>,
        data: DataLen,
        boundary: &str,
    ) -> Self {
        let part = part_head(file, boundary);
        let back = format!("\r\n--{boundary}--\r\n").into_bytes();
        let flags = file.attributes.flags.unwrap_or_default();
        let mut head =
            format!("POST /{}?fsync=true&ts={}", fid(&file.object), file.modified_ns / SECOND_NS);
        let ttl = file.attributes.ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
        let _ = write!(head, "&ttl={ttl}&type=replicate");
        if flags & CHUNK_MANIFEST != 0 {
            head += "&cm=true";
        }
        head += " HTTP/1.1\r\n";
        push_fields(&mut head, destination);
        let _ = write!(head, "Content-Type: multipart/form-data; boundary={boundary}\r\n");
        let _ = match data {
            DataLen::Known(len) => {
                let all = part.len() as u64 + len + back.len() as u64;
                write!(head, "Content-Length: {all}\r\n")
            }
            DataLen::InChunks => write!(head, "Transfer-Encoding: chunked\r\n"),
        };
        let mut front = head.into_bytes();
        if let Some(pairs) = file.attributes.pairs {
            write_pairs(pairs, "Seaweed-", &mut front);
        }
        front.extend_from_slice(b"\r\n");
        let (part, back) = match data {
            DataLen::Known(_) => (part, back),
            DataLen::InChunks => (chunk(&part), last_chunk(&back)),
        };
        front.extend_from_slice(&part);
        Self { front, back }
    }
}

/// Composes a deletion.
pub fn deletion(object: &ObjectName, destination: &Destination<'_>) -> Vec<u8> {
    let mut head = format!("DELETE /{}?type=replicate HTTP/1.1\r\n", fid(object));
    push_fields(&mut head, destination);
    head += "Content-Length: 0\r\n\r\n";
    head.into_bytes()
}

fn push_fields(head: &mut String, destination: &Destination<'_>) {
    let Destination { host, token, origin } = destination;
    let _ = write!(head, "Host: {host}\r\n{ORIGIN_FIELD}: {origin}\r\n");
    if let Some(token) = token {
        let _ = write!(head, "Authorization: Bearer {token}\r\n");
    }
}

fn part_head(file: &CopiedFile<'_>, boundary: &str) -> Vec<u8> {
    let CopiedFile { content_type, attributes, .. } = file;
    let name = attributes.name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let mut part = format!("--{boundary}\r\nContent-Disposition: ").into_bytes();
    write_disposition_of_form(name, &mut part);
    part.extend_from_slice(b"\r\n");
    if attributes.flags.unwrap_or_default() & GZIP != 0 {
        part.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    if let Some(content_type) = content_type {
        for piece in [b"Content-Type: ", *content_type, b"\r\n"] {
            part.extend_from_slice(piece);
        }
    }
    part.extend_from_slice(b"\r\n");
    part
}

/// The line before a chunk of this length (RFC 9112 section 7.1).
pub fn chunk_line(len: usize) -> Vec<u8> {
    format!("{len:x}\r\n").into_bytes()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [&chunk_line(bytes.len()), bytes, b"\r\n"].concat()
}

fn last_chunk(bytes: &[u8]) -> Vec<u8> {
    [&chunk(bytes), &b"0\r\n\r\n"[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{Cookie, NeedleId, VolumeId};

    fn object() -> ObjectName {
        ObjectName { volume: VolumeId(3), id: NeedleId::new(0xab, 0), cookie: Cookie(0x0637_037d) }
    }

    fn file(attributes: ClusterAttributes<'_>) -> CopiedFile<'_> {
        let content_type = Some(&b"image/jpeg"[..]);
        CopiedFile { object: object(), content_type, attributes, modified_ns: 5_000_000_000 }
    }

    fn destination() -> Destination<'static> {
        Destination { host: "127.0.0.2:8080", token: None, origin: 77 }
    }

    #[test]
    fn upload_is_a_form_with_all_that_is_stored() {
        let attributes = ClusterAttributes {
            name: Some("\u{e4} b.jpg".as_bytes()),
            flags: Some(GZIP | CHUNK_MANIFEST),
            ttl: Some("3m".parse().unwrap()),
            pairs: Some(br#"{"Owner":"bob"}"#),
            ..ClusterAttributes::default()
        };
        let token = Some("T.T.T");
        let destination = Destination { token, ..destination() };
        let message = UploadMessage::new(&file(attributes), &destination, DataLen::Known(10), "BB");
        let part = "--BB\r\nContent-Disposition: form-data; name=file; \
            filename*=utf-8''%C3%A4%20b.jpg\r\n\
            Content-Encoding: gzip\r\nContent-Type: image/jpeg\r\n\r\n";
        let back = "\r\n--BB--\r\n";
        let len = part.len() + 10 + back.len();
        let head = format!(
            "POST /3,ab0637037d?fsync=true&ts=5&ttl=3m&type=replicate&cm=true HTTP/1.1\r\n\
             Host: 127.0.0.2:8080\r\nX-Hayloft-Origin: 77\r\nAuthorization: Bearer T.T.T\r\n\
             Content-Type: multipart/form-data; boundary=BB\r\nContent-Length: {len}\r\n\
             Seaweed-Owner: bob\r\n\r\n"
        );
        assert_eq!(String::from_utf8(message.front).unwrap(), head + part);
        assert_eq!(String::from_utf8(message.back).unwrap(), back);
    }

    #[test]
    fn data_of_unknown_length_is_sent_in_chunks() {
        let attributes = ClusterAttributes::default();
        let message =
            UploadMessage::new(&file(attributes), &destination(), DataLen::InChunks, "BB");
        let part = "--BB\r\nContent-Disposition: form-data; name=file; filename=\"\"\r\n\
            Content-Type: image/jpeg\r\n\r\n";
        let head = "POST /3,ab0637037d?fsync=true&ts=5&ttl=&type=replicate HTTP/1.1\r\n\
             Host: 127.0.0.2:8080\r\nX-Hayloft-Origin: 77\r\n\
             Content-Type: multipart/form-data; boundary=BB\r\nTransfer-Encoding: chunked\r\n\r\n";
        let front = format!("{head}{:x}\r\n{part}\r\n", part.len());
        assert_eq!(String::from_utf8(message.front).unwrap(), front);
        assert_eq!(message.back, b"a\r\n\r\n--BB--\r\n\r\n0\r\n\r\n");
        assert_eq!(chunk_line(255), b"ff\r\n");
    }

    #[test]
    fn deletion_names_the_photo() {
        let expected = "DELETE /3,ab0637037d?type=replicate HTTP/1.1\r\nHost: 127.0.0.2:8080\r\n\
            X-Hayloft-Origin: 77\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(deletion(&object(), &destination()), expected.as_bytes());
    }
}
