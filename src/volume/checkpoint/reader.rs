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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::op::{DirId, FileId, Op, Piece};
    use crate::runtime::sim::disk::Image;
    use crate::volume::io::outcome;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn window_slides_over_the_file() {
        let mut rig = Rig::new(&Image::default());
        let (handle, blocks) = (rig.handle(), 6);
        rig.run(async move {
            let op = Op::Create { dir: DirId(0), name: c"file".to_owned() };
            let number = outcome(&handle.submit(op).await).unwrap();
            let file = VolumeFile::new(&handle, FileId(u32::try_from(number).unwrap()));
            let mut buf = handle.pool().alloc(blocks * BLOCK as usize).unwrap();
            let content: Vec<u8> = (0..blocks * 8).flat_map(|n| [n as u8; 512]).collect();
            buf[..content.len()].copy_from_slice(&content);
            let pieces = vec![Piece { buf: 0, start: 0, len: content.len() as u32 }];
            file.write(vec![buf], pieces, 0, true).await.unwrap();

            let len = content.len() as u64;
            let mut reader = Reader::new(&file, len + 100, handle.pool().alloc(2 * BLOCK as usize));
            for (at, bytes, reads) in [
                (0, BLOCK, 1),
                (512, BLOCK, 1),
                (BLOCK, BLOCK, 1),
                (BLOCK, 2 * BLOCK, 2),
                (2 * BLOCK, BLOCK, 2),
                (2 * BLOCK + 512, 512, 2),
                (0, 512, 3),
                (len - BLOCK, BLOCK, 4),
                (len - 512, 512, 4),
            ] {
                let seen = reader.view(at, bytes).await.unwrap();
                assert!(*seen == content[at as usize..(at + bytes) as usize], "{bytes} at {at}");
                assert_eq!(file.stats.other_reads.get(), reads, "{bytes} at {at}");
            }
            assert!(reader.view(len - 512, 513).await.is_err(), "whole blocks only");
            assert_eq!(reader.into_buf().map(|buf| buf.len()), Some(2 * BLOCK as usize));
        });
    }
}
