//! Telling the master that the node stops.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::node::control::cluster::ClusterState;

/// Longest time to tell the master.
const WITHIN: Duration = Duration::from_secs(1);
/// Time that the message has to arrive, and the master to tell others.
const ARRIVES_WITHIN: Duration = Duration::from_millis(200);
/// Interval between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Tells the master that the node has no volumes any more, and waits until it was told, but not for long: a
/// master that does not answer must not keep the node from stopping.
pub fn leave(state: &ClusterState) {
    state.leave();
    let deadline = Instant::now() + WITHIN;
    while !state.has_left() && Instant::now() < deadline {
        sleep(LOOK);
    }
    if state.link().master.is_some() {
        sleep(ARRIVES_WITHIN);
    }
}
