//! The page: the unit in which a simulated disk keeps and reserves space.

/// Length of a page, which is also a block of the file system (bytes).
pub const PAGE: usize = 4096;
/// Length of a sector (bytes).
pub const SECTOR: usize = 512;
