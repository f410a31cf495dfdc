//! The nginx configuration for a running daemon: the example of the documentation with the daemon's
//! addresses, and with requests for each volume sent to the port of the shard that owns it. It has two
//! servers: a public one for reads, and one for writes, which admits only listed clients.
//!
//! - `node`: what is asked of the daemon. `site`, `network`, `error`: the settings, and what is wrong with
//!   them.
//! - `configuration`: the text. `reach`: whether the daemon's addresses answer.

mod configuration;
mod error;
mod network;
mod node;
mod reach;
mod site;
#[cfg(test)]
mod tests;

pub use configuration::{full, included};
pub use error::NginxError;
pub use network::{Network, ParseNetworkError};
pub use node::{Node, NodeLimits, NodeShard, NodeVolume};
pub use reach::unreachable;
pub use site::Site;
