//! Runs futures of the engine on this thread: on a ring, or with plain reads where the kernel refuses one.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::libc;

use super::blocking::BlockingReader;
use super::error::OfflineError;
use crate::base::limits::UNIT;
use crate::base::sys::{self, DirectIo};
use crate::node::datadir::FoundVolume;
use crate::ring::{Registration, Ring, RingOptions, SetupError, prepare};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::{Handle, Runtime};

/// Buffer memory (bytes): for the window of a recovery or of a walk, a needle, a piece of a large body, and
/// the receive buffers that the ring provides.
const BUFFERS: usize = 16 << 20;
/// Maximum number of device operations in flight; reads are issued one after the other.
const IN_FLIGHT: usize = 4;

/// The driver that carries operations out.
enum Reading {
    Ring(Box<Ring>),
    /// Plain reads, with the reason why there is no ring.
    Blocking(BlockingReader, SetupError),
}

/// Executor of futures of the engine, one after the other.
pub struct Executor {
    driver: Reading,
    runtime: Runtime,
}

impl Executor {
    /// Starts an executor on this thread. Without io_uring it reads with `pread(2)`.
    pub fn start(buffered: bool) -> Result<Self, OfflineError> {
        let region = Region::map(1, BUFFERS);
        let region = region.map_err(|error| OfflineError::Step("map the buffers", error))?;
        let pool = Pool::new(&region, 0);
        let random = || unreachable!("reading draws no random numbers");
        let (driver, runtime) = match start_ring(&region, &pool, buffered) {
            Ok(ring) => {
                let runtime = Runtime::new(&ring, pool, random);
                (Reading::Ring(Box::new(ring)), runtime)
            }
            Err(why) => {
                let reader = BlockingReader::new(buffered);
                let runtime = Runtime::new(&reader, pool, random);
                (Reading::Blocking(reader, why), runtime)
            }
        };
        Ok(Self { driver, runtime })
    }

    /// Returns why there is no ring, if there is none.
    pub fn without_ring(&self) -> Option<&SetupError> {
        match &self.driver {
            Reading::Ring(_) => None,
            Reading::Blocking(_, why) => Some(why),
        }
    }

    /// Returns the handle with which tasks submit operations.
    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Runs a future to completion.
    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        match &mut self.driver {
            Reading::Ring(ring) => self.runtime.block_on(&mut **ring, future),
            Reading::Blocking(reader, _) => self.runtime.block_on(reader, future),
        }
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

fn start_ring(region: &Arc<Region>, pool: &Pool, buffered: bool) -> Result<Ring, SetupError> {
    let prepared =
        prepare(1, region, Registration::None)?.pop().expect("prepare(1, ..) returns one ring");
    let options = RingOptions { device_in_flight: IN_FLIGHT, buffered };
    Ring::start(prepared, pool.clone(), Vec::new(), options)
        .map_err(|error| SetupError::Other("start the ring", error))
}

/// Checks that the file can be read with direct I/O, at the alignment of a unit. Other faults of the file are
/// found when it is opened as a volume.
pub fn check_direct_io(file: &FoundVolume) -> Result<(), OfflineError> {
    let flags = libc::O_DIRECT | libc::O_NOFOLLOW;
    let path = file.path.clone();
    match File::options().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(OfflineError::NoDirectIo { path, error })
        }
        Err(_) => Ok(()),
        Ok(open) => match sys::direct_io(&open) {
            Ok(DirectIo::Aligned(bytes)) if u64::from(bytes) > UNIT => {
                Err(OfflineError::Alignment { path, bytes })
            }
            _ => Ok(()),
        },
    }
}
