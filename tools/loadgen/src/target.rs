//! Protocol of each target: path of an object, head of a request, and assessment of an answer.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::object::Object;
use crate::operation::{Kind, Request};
use crate::random::mix;
use crate::verdict::Verdict;

/// Maximum length of a request head (bytes): the longest path is below 100, and a host name is at most 253.
pub const HEAD_MAX: usize = 512;

/// Kind of server under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Hayloft's data API
    Hayloft,
    /// A directory of files for nginx; only fill
    Files,
    /// nginx with such a directory as its root; only reads
    Nginx,
    /// A volume server of SeaweedFS
    Seaweedfs,
}

/// Path of an object's file below the root: two levels of 256 directories each.
#[must_use]
pub fn file_path(object: &Object) -> String {
    let [first, second, ..] = mix(object.unique).to_le_bytes();
    format!("{first:02x}/{second:02x}/{:016x}", object.unique)
}

impl Target {
    /// Name in options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hayloft => "hayloft",
            Self::Files => "files",
            Self::Nginx => "nginx",
            Self::Seaweedfs => "seaweedfs",
        }
    }

    /// Whether the target supports an operation.
    #[must_use]
    pub fn supports(self, kind: Kind) -> bool {
        match self {
            Self::Hayloft => true,
            Self::Files => false,
            Self::Nginx => matches!(kind, Kind::Get | Kind::Range),
            Self::Seaweedfs => kind != Kind::Batch,
        }
    }

    /// Assesses `status` as the answer to `request`.
    #[must_use]
    pub fn judge(self, request: &Request, status: u16) -> Verdict {
        match (request.kind, status) {
            (_, 503 | 429) => Verdict::Rejected,
            (Kind::Get | Kind::Range, 404) if request.is_missing => Verdict::Missing,
            _ if request.is_missing => Verdict::Unexpected,
            (Kind::Get, 200) | (Kind::Range, 206) | (Kind::Batch, 201) => Verdict::Done,
            (Kind::Put, 201 | 204) => Verdict::Done,
            (Kind::Delete, 204) => Verdict::Done,
            (Kind::Delete, 202) if self == Self::Seaweedfs => Verdict::Done,
            _ => Verdict::Unexpected,
        }
    }

    /// Writes the head of `request`, whose body has `body` bytes; returns the length of the head.
    ///
    /// # Panics
    /// When `out` is shorter than [`HEAD_MAX`].
    pub fn write_head(
        self,
        host: &str,
        fsync: bool,
        request: &Request,
        body: u64,
        out: &mut [u8],
    ) -> usize {
        let room = out.len();
        let mut rest = out;
        self.write(host, fsync, request, body, &mut rest)
            .expect("a head is at most HEAD_MAX bytes long");
        room - rest.len()
    }

    fn write(
        self,
        host: &str,
        fsync: bool,
        request: &Request,
        body: u64,
        out: &mut &mut [u8],
    ) -> std::io::Result<()> {
        let method: &[u8] = match request.kind {
            Kind::Get | Kind::Range => b"GET /",
            Kind::Put => b"PUT /",
            Kind::Delete => b"DELETE /",
            Kind::Batch => b"POST /",
        };
        out.write_all(method)?;
        let object = &request.object;
        match self {
            Self::Hayloft if request.kind == Kind::Batch => write!(out, "{}/batch", object.volume)?,
            Self::Hayloft => {
                let Object { volume, key, alt, cookie, .. } = object;
                write!(out, "{volume}/{key}/{alt}/{cookie:016x}")?;
            }
            Self::Files | Self::Nginx => out.write_all(file_path(object).as_bytes())?,
            // SeaweedFS cookies have 32 bits.
            Self::Seaweedfs => {
                write!(out, "{},{:x}{:08x}", object.volume, object.unique, object.cookie >> 32)?
            }
        }
        if fsync && self == Self::Seaweedfs && matches!(request.kind, Kind::Put | Kind::Delete) {
            out.write_all(b"?fsync=true")?;
        }
        out.write_all(b" HTTP/1.1\r\nHost: ")?;
        out.write_all(host.as_bytes())?;
        out.write_all(b"\r\n")?;
        match request.kind {
            Kind::Get | Kind::Delete => {}
            Kind::Range => {
                let (start, len) = request.range;
                write!(out, "Range: bytes={start}-{}\r\n", start + len - 1)?;
            }
            Kind::Put => {
                write!(
                    out,
                    "Content-Type: application/octet-stream\r\nContent-Length: {body}\r\n"
                )?;
            }
            Kind::Batch => {
                write!(out, "Content-Type: application/x-tar\r\nContent-Length: {body}\r\n")?
            }
        }
        out.write_all(b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object {
            index: 3,
            volume: 7,
            key: 42,
            alt: 2,
            cookie: 0x0123_4567_89ab_cdef,
            unique: 0x2b,
            size: 10,
        }
    }

    fn head(target: Target, request: &Request, fsync: bool) -> String {
        let mut out = [0; HEAD_MAX];
        let len = target.write_head("h:1", fsync, request, request.object.size, &mut out);
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn request_heads_follow_the_protocol_of_each_target() {
        let get = Request::new(Kind::Get, object());
        let put = Request::new(Kind::Put, object());
        let range = Request { range: (5, 3), ..Request::new(Kind::Range, object()) };
        let batch = Request::new(Kind::Batch, object());
        for (target, request, fsync, expected) in [
            (
                Target::Hayloft,
                &get,
                true,
                "GET /7/42/2/0123456789abcdef HTTP/1.1\r\nHost: h:1\r\n\r\n",
            ),
            (
                Target::Hayloft,
                &put,
                false,
                "PUT /7/42/2/0123456789abcdef HTTP/1.1\r\nHost: h:1\r\n\
                 Content-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n",
            ),
            (
                Target::Hayloft,
                &batch,
                false,
                "POST /7/batch HTTP/1.1\r\nHost: h:1\r\n\
                 Content-Type: application/x-tar\r\nContent-Length: 10\r\n\r\n",
            ),
            (
                Target::Seaweedfs,
                &range,
                false,
                "GET /7,2b01234567 HTTP/1.1\r\nHost: h:1\r\nRange: bytes=5-7\r\n\r\n",
            ),
            (
                Target::Seaweedfs,
                &put,
                true,
                "PUT /7,2b01234567?fsync=true HTTP/1.1\r\nHost: h:1\r\n\
                 Content-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n",
            ),
        ] {
            assert_eq!(head(target, request, fsync), expected);
        }
        let path = file_path(&object());
        assert_eq!(
            head(Target::Nginx, &get, false),
            format!("GET /{path} HTTP/1.1\r\nHost: h:1\r\n\r\n")
        );
        assert_eq!((path.len(), &path[6..]), (22, "000000000000002b"));
    }

    #[test]
    fn the_longest_head_fits() {
        let largest =
            Object { index: 0, volume: u32::MAX, key: u64::MAX, alt: u32::MAX, ..object() };
        let largest = Object { cookie: u64::MAX, unique: u64::MAX, size: u64::MAX, ..largest };
        let host = "h".repeat(253) + ":65535";
        for kind in Kind::ALL {
            let request = Request { range: (u64::MAX / 2, 1 << 60), ..Request::new(kind, largest) };
            for target in [Target::Hayloft, Target::Nginx, Target::Seaweedfs] {
                target.write_head(&host, true, &request, u64::MAX, &mut [0; HEAD_MAX]);
            }
        }
    }

    #[test]
    fn answers_are_assessed_relative_to_the_request() {
        let get = Request::new(Kind::Get, object());
        let missing = Request { is_missing: true, ..get };
        for (request, status, verdict) in [
            (&get, 200, Verdict::Done),
            (&get, 206, Verdict::Unexpected),
            (&get, 404, Verdict::Unexpected),
            (&get, 503, Verdict::Rejected),
            (&missing, 404, Verdict::Missing),
            (&missing, 200, Verdict::Unexpected),
        ] {
            assert_eq!(Target::Hayloft.judge(request, status), verdict, "{status}");
        }
        let delete = Request::new(Kind::Delete, object());
        assert_eq!(Target::Hayloft.judge(&delete, 202), Verdict::Unexpected);
        assert_eq!(Target::Seaweedfs.judge(&delete, 202), Verdict::Done);
    }
}
