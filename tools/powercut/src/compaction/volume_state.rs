//! State of a volume, as the admin API shows it.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use hayloft::commands::client::Body;
use hayloft::http::head::Method;
use serde_json::Value;

use super::phase::Phase;
use crate::http::{ask, client};

/// End of a compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionEnd {
    /// `done`, `cancelled` or `failed`.
    pub outcome: String,
    /// Why it is not done.
    pub reason: String,
}

/// State of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeState {
    /// Generation that serves.
    pub generation: u64,
    /// Phase of its compaction.
    pub phase: Phase,
    /// Whether a compaction waits or runs.
    pub is_compacting: bool,
    /// Number of compactions that have ended since the daemon started.
    pub compactions: u64,
    /// The last of them.
    pub last: Option<CompactionEnd>,
    /// Whether and why it may be written.
    pub write_state: String,
    /// Position of its data directory.
    pub disk: u64,
}

impl VolumeState {
    /// Asks for the state of a volume. The admin API answers one request per connection.
    pub fn get(admin: SocketAddr, volume: u32) -> Result<Self> {
        let path = format!("/volumes/{volume}");
        let reply = ask(&client(admin), Method::Get, &path, Body::None)?;
        let parsed = (reply.status == 200).then(|| Self::parse(&reply.body)).flatten();
        parsed.ok_or_else(|| {
            let why = format!("volume {volume}: {} {}", reply.status, reply.text().trim());
            Error::new(ErrorKind::InvalidData, why)
        })
    }

    fn parse(json: &[u8]) -> Option<Self> {
        let volume: Value = serde_json::from_slice(json).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let compaction = &volume["compaction"];
        let last = &volume["last_compaction"];
        let last = match last {
            Value::Null => None,
            _ => Some(CompactionEnd {
                outcome: text(&last["outcome"])?,
                reason: text(&last["reason"])?,
            }),
        };
        Some(Self {
            generation: volume["generation"].as_u64()?,
            phase: match compaction {
                Value::Null => Phase::None,
                _ => Phase::parse(compaction["phase"].as_str()?)?,
            },
            is_compacting: !compaction.is_null(),
            compactions: volume["compactions"].as_u64()?,
            last,
            write_state: text(&volume["write_state"])?,
            disk: volume["disk"].as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_parsed_from_the_answer_of_the_admin_api() {
        let json = br#"{"id":1,"disk":1,"write_state":"writable","generation":3,"compactions":2,
            "compaction":{"phase":"catching_up","by":"operator"},
            "last_compaction":{"outcome":"failed","reason":"No room."}}"#;
        let state = VolumeState::parse(json).unwrap();
        assert_eq!((state.generation, state.compactions, state.disk), (3, 2, 1));
        assert_eq!((state.phase, state.is_compacting), (Phase::CatchingUp, true));
        assert_eq!(state.last.unwrap().reason, "No room.");
        let idle = br#"{"disk":0,"write_state":"writable","generation":0,"compactions":0,
            "compaction":null,"last_compaction":null}"#;
        let state = VolumeState::parse(idle).unwrap();
        assert_eq!((state.phase, state.is_compacting, state.last), (Phase::None, false, None));
        assert_eq!(VolumeState::parse(b"{}"), None);
    }
}
