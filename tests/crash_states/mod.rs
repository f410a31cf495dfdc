//! Histories on the simulated disk, cut off at every event: what may be left of each, and whether the
//! store makes of it what it promises.

pub mod explore;
pub mod fingerprint;
pub mod history;
pub mod model;
