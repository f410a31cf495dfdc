//! A sequential copy with direct I/O, one read and one write in flight: what the device can do.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Failed;
use crate::record::cannot;

/// Length of a read and of a write (bytes).
const BLOCK: usize = 1 << 20;
/// Alignment of buffers for direct I/O (bytes).
const ALIGNMENT: usize = 4096;
/// `O_DIRECT` of open(2).
#[cfg(target_arch = "aarch64")]
const O_DIRECT: i32 = 0o200_000;
#[cfg(not(target_arch = "aarch64"))]
const O_DIRECT: i32 = 0o40_000;

/// A block in memory, with an aligned start.
struct Block {
    bytes: Vec<u8>,
    start: usize,
}

impl Block {
    fn new() -> Self {
        let bytes = vec![0; BLOCK + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + BLOCK]
    }
}

/// Reads `read` bytes of `from`, writes the first `written` of them to the new file `to`, and flushes it;
/// returns the time. Lengths are rounded down to blocks.
///
/// # Errors
/// When a file cannot be read or written, or `from` is shorter.
pub fn copy(from: &Path, to: &Path, (read, written): (u64, u64)) -> Result<Duration, Failed> {
    let blocks = |len: u64| usize::try_from(len).expect("usize has 64 bits") / BLOCK;
    let (reads, writes) = (blocks(read), blocks(written));
    let _ = std::fs::remove_file(to);
    let reserve = Command::new("fallocate").args(["-l", &written.to_string()]).arg(to).status();
    if !reserve.is_ok_and(|status| status.success()) {
        return Err(Failed(format!("cannot reserve {written} bytes for {}", to.display())));
    }
    let open = |path: &Path, writes: bool| {
        let mut options = File::options();
        let options = options.read(!writes).write(writes).custom_flags(O_DIRECT);
        options.open(path).map_err(cannot("open", path))
    };
    let (mut source, mut target) = (open(from, false)?, open(to, true)?);
    // One block is read while another is written.
    let (full, to_write) = sync_channel::<Block>(1);
    let (empty, to_fill) = sync_channel::<Block>(2);
    for _ in 0..2 {
        empty.send(Block::new()).expect("the receiver is there");
    }
    let began = Instant::now();
    let copied = thread::scope(|scope| {
        let writer = scope.spawn(move || -> std::io::Result<()> {
            for mut block in to_write {
                target.write_all(block.get())?;
                if empty.send(block).is_err() {
                    break;
                }
            }
            target.sync_data()
        });
        let mut read_all = || -> std::io::Result<()> {
            // The parts that are not written are spread evenly, like garbage.
            let mut spare = None;
            for number in 0..reads {
                let Some(mut block) = spare.take().or_else(|| to_fill.recv().ok()) else { break };
                source.read_exact(block.get())?;
                let is_written = (number + 1) * writes / reads > number * writes / reads;
                match is_written {
                    true => full.send(block).map_err(std::io::Error::other)?,
                    false => spare = Some(block),
                }
            }
            Ok(())
        };
        let done = read_all();
        drop(full);
        writer.join().expect("the writer does not panic").and(done)
    });
    copied.map_err(cannot("copy", from))?;
    let took = began.elapsed();
    std::fs::remove_file(to).map_err(cannot("remove", to))?;
    Ok(took)
}
