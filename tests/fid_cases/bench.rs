//! Shards with a volume of a cluster, and requests to them.

use hayloft::http::head::Dialects;
use hayloft::node::shard::ShardConfig;

use super::form::Form;
use crate::shard_world::{SECOND, Shards, config};

pub fn with_fids() -> ShardConfig {
    ShardConfig { dialects: Dialects::WithFids, ..config() }
}

/// A reply, taken apart.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Self { status, head, body: bytes[end..].to_vec() }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Shards with a volume of a cluster.
pub struct Bench {
    pub shards: Shards,
    /// Shard that the next requests are sent to; volume 1 is in shard 0.
    pub at: usize,
}

impl Bench {
    pub fn start() -> Self {
        Self { shards: Shards::start(2, with_fids), at: 0 }
    }

    /// Sends the pieces of a request, each by itself, and returns the reply. The connection is closed after
    /// it.
    pub fn pieces(&mut self, pieces: Vec<Vec<u8>>) -> Reply {
        let client = self.shards.connect(self.at);
        let sender = client.clone();
        self.shards.spawn(async move {
            for piece in pieces {
                if !sender.send(&piece).await {
                    break;
                }
                sender.pause(1000).await;
            }
            sender.take_all().await;
        });
        let watched = client.clone();
        self.shards.run_until("a reply", 60 * SECOND, |_| watched.taken().end.is_some());
        Reply::parse(&client.taken().bytes)
    }

    /// Sends a request without a body, or with the last field and the body in `rest`.
    pub fn send(&mut self, line: &str, rest: &[u8]) -> Reply {
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n").into_bytes();
        bytes.extend_from_slice(if rest.is_empty() { b"\r\n" } else { rest });
        self.pieces(vec![bytes])
    }

    pub fn get(&mut self, target: &str, fields: &str) -> Reply {
        self.send(&format!("GET {target}"), format!("{fields}\r\n").as_bytes())
    }

    pub fn post(&mut self, target: &str, form: &Form) -> Reply {
        self.send(&format!("POST {target}"), &form.with_length())
    }
}
