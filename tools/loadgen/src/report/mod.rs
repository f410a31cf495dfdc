//! Output of a load: table, JSON, histograms, HTML page with plots.

pub mod hgrm;
pub mod hlog;
pub mod html;
mod plot;
pub mod summary;
pub mod table;
