//! Crash tests of histories on the simulated disk: the states that a power cut can leave at any event, and
//! whether recovery gives a state that the model allows.

pub mod explore;
pub mod fingerprint;
pub mod history;
pub mod model;
