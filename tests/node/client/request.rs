//! Requests, and what is known about them.

use std::fmt::Write as _;

use hayloft::base::types::VolumeId;

use crate::node::SECOND;
use crate::node::seen::{Name, Value};

/// The wall clock when the monotonic one begins (ns since 1970).
pub const EPOCH_NS: u64 = 1_700_000_000 * SECOND;

/// A request and its properties.
pub struct Request {
    pub volume: Option<VolumeId>,
    pub head: String,
    pub body: Vec<u8>,
    /// Upper bound of its space in the log (bytes); 0 if it stores nothing.
    pub cost: u64,
    /// The object that it names.
    pub name: Option<Name>,
    /// Time at which what it stores expires (ns).
    pub expires: Option<u64>,
}

impl Request {
    pub fn new(method: &str, target: &str, volume: Option<VolumeId>) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
        Self { volume, head, body: Vec::new(), cost: 0, name: None, expires: None }
    }

    pub fn of(method: &str, name: Name) -> Self {
        Self { name: Some(name), ..Self::new(method, &path_of(name), Some(name.0)) }
    }

    /// With the time at which the object expires (ns).
    pub fn expires(mut self, expires: Option<u64>) -> Self {
        self.expires = expires;
        match expires {
            Some(time) => {
                let wall = EPOCH_NS + time;
                let text = format!("{}.{:09}", wall / SECOND, wall % SECOND);
                self.field("X-Hayloft-Expires", &text)
            }
            None => self,
        }
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// Whether this is a conditional write.
    pub fn decides_by_header(&self) -> bool {
        let is_write = self.head.starts_with("PUT") || self.head.starts_with("DELETE");
        is_write && (self.head.contains("If-Match") || self.head.contains("If-None-Match"))
    }

    pub fn body(mut self, body: Vec<u8>, cost: u64) -> Self {
        (self.body, self.cost) = (body, cost);
        let len = self.body.len().to_string();
        self.field("Content-Length", &len)
    }

    pub fn bytes(self) -> Vec<u8> {
        [self.head.into_bytes(), b"\r\n".to_vec(), self.body].concat()
    }
}

pub fn path_of((volume, key, cookie): Name) -> String {
    format!("/{volume}/{key}/0/{cookie:016x}")
}

pub fn quoted(value: Value) -> String {
    format!("\"{:016x}\"", value.etag)
}
