//! What the tests of several parts of this module use.

pub mod rig;
