//! Multipart forms, as clients build them.

use hayloft::runtime::split_mix;

/// A multipart form.
#[derive(Clone, Default)]
pub struct Form {
    parts: Vec<u8>,
    /// Whether CRLF follows the last boundary.
    ends_short: bool,
}

pub const BOUNDARY: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f900112233445566778899aabbccdd";

impl Form {
    pub fn with(mut self, head: &str, data: &[u8]) -> Self {
        self.parts.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        self.parts.extend_from_slice(data);
        self.parts.extend_from_slice(b"\r\n");
        self
    }

    /// A form as Go's clients build it.
    pub fn of(data: &[u8]) -> Self {
        let head =
            "Content-Disposition: form-data; filename=p.jpg; name=file\r\nContent-Type: image/jpeg";
        Self::default().with(head, data)
    }

    pub fn field(self, name: &str, data: &[u8]) -> Self {
        self.with(&format!("Content-Disposition: form-data; name=\"{name}\""), data)
    }

    pub fn ends_short(self) -> Self {
        Self { ends_short: true, ..self }
    }

    pub fn body(&self) -> Vec<u8> {
        let end = format!("--{BOUNDARY}--{}", if self.ends_short { "" } else { "\r\n" });
        [&self.parts, end.as_bytes()].concat()
    }

    pub fn with_length(&self) -> Vec<u8> {
        let body = self.body();
        let head = format!(
            "Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    /// The fields and the body in chunks of these lengths, used in turn.
    pub fn chunked(&self, lens: &[usize]) -> Vec<u8> {
        let mut out = format!(
            "Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut bytes = std::mem::take(&mut out).into_bytes();
        let body = self.body();
        let (mut at, mut turn) = (0, lens.iter().cycle());
        while at < body.len() {
            let len = (*turn.next().unwrap()).min(body.len() - at);
            bytes.extend_from_slice(format!("{len:x}\r\n").as_bytes());
            bytes.extend_from_slice(&body[at..at + len]);
            bytes.extend_from_slice(b"\r\n");
            at += len;
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// Bytes that no boundary is in, but many of its beginnings.
pub fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let begin = format!("\r\n--{BOUNDARY}");
    let mut out = Vec::with_capacity(len + begin.len());
    while out.len() < len {
        let number = split_mix(&mut state);
        let cut = usize::try_from(number % begin.len() as u64).unwrap();
        out.extend_from_slice(&begin.as_bytes()[..cut]);
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.truncate(len);
    out
}
