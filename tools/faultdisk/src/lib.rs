//! A block device for tests that records every write and every flush, fails on demand, and can be had
//! again in any state that a power cut could have left.
//!
//! The device is a file in a FUSE file system of this process, under a loop device with direct I/O: the
//! kernel takes it for a disk with a volatile cache and no FUA, so what a file system does for
//! durability arrives as writes and flushes of their own. [`disk`] is that file, [`recorder`] the device
//! behind it, [`log`] what was written down; [`state`] says what a cut can leave of that: all
//! writes that a flush covers, and of the others none, all, or any sectors. [`overlay`] shows such a
//! state as a device without a copy of it. [`xfs`] attaches and mounts.
//!
//! Several requests are under way at once, and complete late now and then. A flush covers the writes
//! that had completed when it came, no others: a flush that is asked for too early is seen.
//!
//! qemu-storage-daemon can do much of this (`blklogwrites` and `blkdebug` under its FUSE export), and was
//! tried first. In 10.0.2 its export mixes up the data of writes that come together: of 2,400 writes of
//! 64 KiB from eight threads through a loop device, 1,800 arrived with the data of others.

pub mod device;
pub mod disk;
pub mod error;
pub mod log;
pub mod overlay;
pub mod random;
pub mod recorder;
pub mod state;
pub mod xfs;

pub use device::Device;
pub use disk::{Disk, FaultDisk};
pub use error::Error;
pub use log::Log;
pub use recorder::{Fault, Which};
pub use state::{Replay, Unflushed};
