//! HTTP client side on simulated connections, which may stall and break.

use std::str::FromStr;

use hayloft::runtime::Handle;
use hayloft::runtime::op::{Op, Returned, Sock};

/// Largest send or receive of a client (bytes).
const PIECE: usize = 64 << 10;

/// A complete response.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub closes: bool,
    head: String,
}

impl Reply {
    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The number in the entity tag.
    pub fn etag(&self) -> Option<u64> {
        let quoted = self.field("ETag")?.strip_prefix('"')?.strip_suffix('"')?;
        u64::from_str_radix(quoted, 16).ok()
    }

    /// A field that is a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.field(name)?.parse().ok()
    }

    /// The message of an error.
    pub fn reason(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap().trim_end()
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Sends bytes. Returns whether all were sent.
pub async fn send(handle: &Handle, sock: Sock, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = rest.len().min(PIECE);
        let Some(mut buf) = handle.pool().alloc(PIECE) else { return false };
        buf[..len].copy_from_slice(&rest[..len]);
        let len = u32::try_from(len).unwrap();
        let sent = handle.submit(Op::Send { sock, buf, start: 0, len }).await.result;
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => rest = &rest[sent..],
            _ => return false,
        }
    }
    true
}

/// Receives a response; `None` if the connection ends before its end.
pub async fn receive(handle: &Handle, sock: Sock, is_head: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut head: Option<Head> = None;
    loop {
        let buf = handle.pool().alloc(PIECE)?;
        let len = u32::try_from(PIECE).unwrap();
        let op = Op::Recv { sock, buf, start: 0, len, whole: false };
        let completion = handle.submit(op).await;
        let got = usize::try_from(completion.result).ok().filter(|got| *got > 0)?;
        let Returned::One(buf) = completion.returned else { panic!("the buffer comes back") };
        let scanned = bytes.len().saturating_sub(3);
        bytes.extend_from_slice(&buf[..got]);
        if head.is_none() {
            head = parse(&bytes, scanned, is_head);
        }
        if let Some(Head { status, end, len, closes }) = head
            && bytes.len() >= end + len
        {
            assert_eq!(bytes.len(), end + len, "bytes after the end of the body");
            let body = bytes.split_off(end);
            let head = String::from_utf8(bytes).unwrap();
            return Some(Reply { status, body, closes, head });
        }
    }
}

/// The head of a response.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Offset of the body.
    end: usize,
    /// Length of the body.
    len: usize,
    closes: bool,
}

/// Parses the head once it is complete. Its end is searched from offset `scanned`.
fn parse(bytes: &[u8], scanned: usize, is_head: bool) -> Option<Head> {
    let end = scanned + bytes[scanned..].windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status: u16 = head[9..12].parse().unwrap();
    let len = field(head, "Content-Length").map_or(0, |len| len.parse().unwrap());
    let len = if is_head || matches!(status, 204 | 304) { 0 } else { len };
    Some(Head { status, end, len, closes: field(head, "Connection") == Some("close") })
}
