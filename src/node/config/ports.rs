//! The ports of the shards: `auto`, `off`, or the port of shard 0.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// Distance from the port of the first TCP `listen` to the port of shard 0, with `auto`.
pub const SHARD_PORT_DISTANCE: u16 = 100;

/// Ports on which each shard can be reached directly: shard k also listens on the base + k.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardPorts {
    /// The port of the first TCP `listen` + 100. None if there is no TCP `listen`, or its port is 0.
    #[default]
    Auto,
    /// Shards have no ports of their own.
    Off,
    /// The port of shard 0, 1 to 65535.
    Base(u16),
}

/// The text is no value of `shard_ports`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a port; write the port of shard 0 (1 to 65535), off, or auto")]
pub struct ParseShardPortsError(String);

impl FromStr for ShardPorts {
    type Err = ParseShardPortsError;

    fn from_str(text: &str) -> Result<Self, ParseShardPortsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match text.parse() {
                Ok(port) if port > 0 && !text.starts_with('+') => Ok(Self::Base(port)),
                _ => Err(ParseShardPortsError(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for ShardPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Base(port) => write!(f, "{port}"),
        }
    }
}

impl Serialize for ShardPorts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Base(port) => serializer.serialize_u16(*port),
            Self::Auto | Self::Off => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for ShardPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor)
    }
}

struct PortsVisitor;

impl Visitor<'_> for PortsVisitor {
    type Value = ShardPorts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port, \"off\" or \"auto\"")
    }

    fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<ShardPorts, E> {
        port.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<ShardPorts, E> {
        port.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ShardPorts, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_ports_round_trip_through_text() {
        for (text, ports) in [
            ("auto", ShardPorts::Auto),
            ("off", ShardPorts::Off),
            ("1", ShardPorts::Base(1)),
            ("65535", ShardPorts::Base(65_535)),
        ] {
            assert_eq!(text.parse(), Ok(ports));
            assert_eq!(ports.to_string(), text);
        }
    }

    #[test]
    fn invalid_shard_ports_are_rejected() {
        for text in ["", "0", "65536", "-1", "+80", "on", "127.0.0.1:80"] {
            let error = text.parse::<ShardPorts>().expect_err(text).to_string();
            assert!(error.contains("off, or auto"), "{text:?}: {error}");
        }
    }
}
