//! Reading the file of a checkpoint from its beginning to its end.

use crate::base::limits::BLOCK;
use crate::runtime::buffer::Buf;
use crate::volume::io::VolumeFile;

/// A window that slides over the checkpoint file.
pub struct Reader<'a> {
    file: &'a VolumeFile,
    /// Length of the file, rounded down to whole blocks (bytes).
    len: u64,
    buf: Option<Buf>,
    /// The window holds bytes `start..end` of the file.
    start: u64,
    end: u64,
}

impl<'a> Reader<'a> {
    /// Creates a reader of a file of `len` bytes, with an empty window.
    pub fn new(file: &'a VolumeFile, len: u64, buf: Option<Buf>) -> Self {
        Self { file, len: len / BLOCK * BLOCK, buf, start: 0, end: 0 }
    }

    /// Returns the buffer, unless it was lost in a failed read.
    pub fn into_buf(self) -> Option<Buf> {
        self.buf
    }

    /// Returns bytes `at..at + len` of the file.
    ///
    /// # Errors
    /// The reason why there are none.
    pub async fn view(&mut self, at: u64, len: u64) -> Result<&[u8], String> {
        if at + len > self.len {
            return Err("it ends too early".to_owned());
        }
        if at < self.start || at + len > self.end {
            let buf = self.buf.take().ok_or("it could not be read")?;
            (self.start, self.end) = (at, (at + buf.len() as u64).min(self.len));
            let wanted = to_usize(self.end - at);
            let reads = &self.file.stats.other_reads;
            let (buf, read) = self.file.read(buf, 0, wanted, at, reads).await;
            self.buf = Some(buf);
            if let Err(error) = read {
                self.end = self.start;
                return Err(format!("it cannot be read: {error}"));
            }
        }
        let from = to_usize(at - self.start);
        let buf = self.buf.as_ref().ok_or("it could not be read")?;
        Ok(&buf[from..from + to_usize(len)])
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside the window")
}
