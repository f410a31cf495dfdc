//! A block device for tests that records every write and flush, injects faults, and can be restored to any
//! state that a power cut could have left.
//!
//! The device is a file in a FUSE file system of this process, below a loop device with direct I/O. To the
//! kernel it is a disk with a volatile cache and without FUA, so the durability of a file system reaches it
//! as separate writes and flushes. [`disk`] is the file, [`recorder`] the device behind it, [`log`] the log
//! of its requests. [`state`] makes states after a cut: all writes covered by a flush, and of the others
//! none, all, or any sectors. [`overlay`] presents such a state as a device without copying the image.
//! [`xfs`] attaches loop devices and mounts.
//!
//! Several requests are in flight at once, and some are delayed. A flush covers only the writes that had
//! completed when it arrived, so a flush that is issued too early is detected.
//!
//! qemu-storage-daemon can do much of this (`blklogwrites` and `blkdebug` under its FUSE export), and was
//! tried first. In 10.0.2 its export mixes up the data of concurrent writes: of 2,400 writes of 64 KiB from
//! eight threads through a loop device, 1,800 arrived with the data of others.

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
pub use log::RequestLog;
pub use recorder::{Fault, FaultTarget, ReadFault, ReadFaultKind};
pub use state::{Replay, Unflushed};
