//! The control plane: what is asked and ordered beside the data path.

pub mod admin;
