//! What a load says of itself: as a table, as JSON, as histograms, as a page with plots.

pub mod hgrm;
pub mod hlog;
pub mod html;
mod plot;
pub mod summary;
pub mod table;
