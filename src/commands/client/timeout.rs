//! Timeouts that single and pipelined requests share.

use std::time::Duration;

/// Timeout of connecting to one address.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
