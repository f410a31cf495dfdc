//! One ring on this thread, and what runs on it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use super::OfflineError;
use crate::buffer::{Pool, Region};
use crate::datadir::VolumeFile;
use crate::limits::UNIT;
use crate::op::{DirId, Op};
use crate::ring::{Registration, Ring, RingOptions, prepare};
use crate::runtime::{Handle, Runtime};
use crate::sys;

/// Buffers (bytes): the window of a recovery or of a walk, a needle, a piece of a large body, and what
/// the ring keeps ready to receive with.
const BUFFERS: usize = 16 << 20;
/// Reads in flight: one after the other.
const IN_FLIGHT: usize = 4;

/// Runs futures of the engine one after the other.
pub struct Executor {
    ring: Ring,
    runtime: Runtime,
}

impl Executor {
    /// Starts it on this thread.
    pub fn start(buffered: bool) -> Result<Self, OfflineError> {
        let step = |what| move |error| OfflineError::Step(what, error);
        let region = Region::map(1, BUFFERS).map_err(step("map the buffers"))?;
        let prepared = prepare(1, &region, Registration::None)?.pop().expect("one ring");
        let pool = Pool::new(&region, 0);
        let options = RingOptions { device_in_flight: IN_FLIGHT, buffered };
        let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
        let ring = ring.map_err(step("start a ring"))?;
        let runtime = Runtime::new(&ring, pool, || unreachable!("readers draw no random numbers"));
        Ok(Self { ring, runtime })
    }

    /// What tasks use.
    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Runs a future to its end.
    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.ring, future)
    }

    /// Opens a directory to open files in.
    pub fn open_dir(&mut self, path: &Path) -> Result<DirId, OfflineError> {
        let (handle, path) = (self.handle(), path.to_owned());
        let opened = self.run(async move { handle.submit(Op::OpenDir { path }).await.result });
        u32::try_from(opened).map(DirId).map_err(|_| {
            let errno = i32::try_from(-opened).unwrap_or(libc::EIO);
            OfflineError::Step("open a data directory", io::Error::from_raw_os_error(errno))
        })
    }
}

/// Makes sure that the file can be read without the page cache, in units. What else may be wrong with it
/// is found when it is opened as a volume.
pub fn check_direct_io(file: &VolumeFile) -> Result<(), OfflineError> {
    let flags = libc::O_DIRECT | libc::O_NOFOLLOW;
    let path = file.path.clone();
    match File::options().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(OfflineError::NoDirectIo { path, error })
        }
        Err(_) => Ok(()),
        Ok(open) => match sys::direct_io_alignment(&open) {
            Ok(Some(needs)) if u64::from(needs.offset) > UNIT => {
                Err(OfflineError::Alignment { path, bytes: needs.offset })
            }
            _ => Ok(()),
        },
    }
}
