//! Receives the file of a multipart form: its data goes where the caller wants it, without a copy; other
//! fields are skipped.

use super::body_reader::{BodyReader, NotReceived};
use super::conn::Conn;
use super::fid::{AfterDelimiter, Boundary, FileName, PART_HEAD_MAX, PartHead};
use super::reject::Reject;
use crate::runtime::buffer::Buf;

/// Largest length of all fields of a form that are no file, with their heads and boundaries (bytes).
const FIELDS_MAX: usize = 64 << 10;
/// Bytes that are received at a time outside of the file.
const STEP: usize = 4096;

const ENDED: Reject = Reject::bad("the body ends within the form");
const FIELDS: Reject =
    Reject::bad("the fields of the form besides the file are longer than 64 KiB");
const TWO_FILES: Reject = Reject::bad("the form has more than one file");
const INNER: Reject =
    Reject::bad("a line of the form begins with its boundary and does not end a part");

/// Bytes of a file that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Number of bytes.
    pub len: usize,
    /// Whether the file has ended; otherwise the space was filled.
    pub is_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the data of the file.
    File,
    /// Behind the delimiter after the file.
    AfterFile,
    /// The whole form was received; what is pending is the data of the file.
    Whole,
}

/// A form whose file is being received.
pub struct FormReader {
    body: BodyReader,
    boundary: Boundary,
    /// Bytes that were received and not passed on.
    pending: Vec<u8>,
    /// Length of the fields that are no file, with their heads and boundaries, as far as they were received
    /// (bytes).
    fields_len: usize,
    state: State,
}

impl FormReader {
    /// Receives the form up to the data of its file, and returns the head of that part. The file is the first
    /// part that has a file name, also an empty one; if no part has one, it is the first part.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn begin(
        conn: &mut Conn,
        body: BodyReader,
        boundary: Boundary,
    ) -> Result<(Self, PartHead), NotReceived> {
        let mut form =
            Self { body, boundary, pending: Vec::new(), fields_len: 0, state: State::File };
        let opening = loop {
            match form.boundary.opening(&form.pending)? {
                Some(len) => break len,
                None => form.more(conn).await?,
            }
        };
        form.pending.drain(..opening);
        let head = form.part_head(conn).await?;
        if head.file_name != FileName::Absent {
            return Ok((form, head));
        }
        let first = form.field(conn).await?;
        while form.has_part(conn).await? {
            let head = form.part_head(conn).await?;
            if head.file_name != FileName::Absent {
                return Ok((form, head));
            }
            form.field(conn).await?;
        }
        form.pending = first;
        form.state = State::Whole;
        Ok((form, head))
    }

    /// Expected length of the file (bytes), if it is the last part and ends as usual; `None` if it is not
    /// known.
    pub fn expected_len(&self) -> Option<u64> {
        if self.state == State::Whole {
            return Some(self.pending.len() as u64);
        }
        let left = self.body.left()? + self.pending.len() as u64;
        Some(left.saturating_sub(self.boundary.closing_len() as u64))
    }

    /// Receives data of the file into `buf[start..start + len]` until that is full or the file ends. Returns
    /// the buffer in either case.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn fill(
        &mut self,
        conn: &mut Conn,
        buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<Filled, NotReceived>) {
        match self.state {
            State::File => {}
            State::AfterFile => return (buf, Ok(Filled { len: 0, is_end: true })),
            State::Whole => return self.take_rest(buf, start, len),
        }
        let (mut buf, received) = self.receive(conn, buf, start, len).await;
        let received = match received {
            Ok(received) => received,
            Err(error) => return (buf, Err(error)),
        };
        let data = &buf[start..start + received];
        if let Some(at) = self.boundary.find(data) {
            let result = self.end_at(&mut buf[start..start + received], at);
            return (buf, result);
        }
        if received < len {
            return (buf, Err(ENDED.into()));
        }
        let begun = self.boundary.begun_at_end(data);
        if begun == 0 {
            return (buf, Ok(Filled { len, is_end: false }));
        }
        // The delimiter may begin in the buffer and end behind it.
        let result = self.look_ahead(conn, &buf[start..start + len]).await;
        (buf, result)
    }

    /// Waits for more bytes of the form, or its end, without a buffer.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn await_data(&mut self, conn: &mut Conn) -> Result<(), NotReceived> {
        if self.pending.is_empty() { self.body.await_data(conn).await } else { Ok(()) }
    }

    /// Returns whether the file ends here.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn ends_here(&mut self, conn: &mut Conn) -> Result<bool, NotReceived> {
        match self.state {
            State::AfterFile => return Ok(true),
            State::Whole => return Ok(self.pending.is_empty()),
            State::File => {}
        }
        let len = self.boundary.delimiter_len();
        while self.pending.len() < len && self.take_some(conn).await? > 0 {}
        let ends = self.boundary.find(&self.pending[..len.min(self.pending.len())]) == Some(0);
        if ends {
            self.pending.drain(..len);
            self.state = State::AfterFile;
        }
        Ok(ends)
    }

    /// Skips the fields after the file, and receives the end of the body.
    ///
    /// # Errors
    /// See [`NotReceived`].
    ///
    /// # Panics
    /// If the file has not ended.
    pub async fn finish(mut self, conn: &mut Conn) -> Result<(), NotReceived> {
        match self.state {
            State::File => panic!("the file is received before what follows it"),
            State::Whole => return Ok(()),
            State::AfterFile => {}
        }
        while self.has_part(conn).await? {
            let head = self.part_head(conn).await?;
            if head.file_name != FileName::Absent {
                return Err(TWO_FILES.into());
            }
            self.field(conn).await?;
        }
        Ok(())
    }

    /// Fills `buf[start..start + len]` with what is pending and what follows, not only of the file.
    async fn receive(
        &mut self,
        conn: &mut Conn,
        mut buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<usize, NotReceived>) {
        let first = self.pending.len().min(len);
        buf[start..start + first].copy_from_slice(&self.pending[..first]);
        self.pending.drain(..first);
        let (buf, rest) = self.body.fill(conn, buf, start + first, len - first).await;
        (buf, rest.map(|rest| first + rest))
    }

    /// Ends the file at a delimiter in `received`, and keeps what follows it.
    fn end_at(&mut self, received: &mut [u8], at: usize) -> Result<Filled, NotReceived> {
        let rest = &received[at + self.boundary.delimiter_len()..];
        // Longer fields are refused in any case, so that no more is kept.
        if rest.len() > FIELDS_MAX + PART_HEAD_MAX {
            return Err(FIELDS.into());
        }
        self.pending.splice(..0, rest.iter().copied());
        self.state = State::AfterFile;
        Ok(Filled { len: at, is_end: true })
    }

    /// Finds out whether the delimiter begins in the last bytes of `full`, by receiving those behind them.
    async fn look_ahead(&mut self, conn: &mut Conn, full: &[u8]) -> Result<Filled, NotReceived> {
        let delimiter_len = self.boundary.delimiter_len();
        while self.pending.len() < delimiter_len && self.take_some(conn).await? > 0 {}
        let tail = &full[full.len() - self.boundary.begun_at_end(full)..];
        let both = [tail, &self.pending].concat();
        let begins_in_tail = self.boundary.find(&both).filter(|at| *at < tail.len());
        let Some(at) = begins_in_tail else {
            return Ok(Filled { len: full.len(), is_end: false });
        };
        self.pending = both[at + delimiter_len..].to_vec();
        self.state = State::AfterFile;
        Ok(Filled { len: full.len() - tail.len() + at, is_end: true })
    }

    /// Passes on a first part without a name, which was received already.
    fn take_rest(
        &mut self,
        mut buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<Filled, NotReceived>) {
        let len = self.pending.len().min(len);
        buf[start..start + len].copy_from_slice(&self.pending[..len]);
        self.pending.drain(..len);
        (buf, Ok(Filled { len, is_end: self.pending.is_empty() }))
    }

    async fn take_some(&mut self, conn: &mut Conn) -> Result<usize, NotReceived> {
        self.body.take_some(conn, &mut self.pending, STEP).await
    }

    /// Receives more bytes, which there must be.
    async fn more(&mut self, conn: &mut Conn) -> Result<(), NotReceived> {
        match self.take_some(conn).await? {
            0 => Err(ENDED.into()),
            _ => Ok(()),
        }
    }

    /// Receives the head of a part, up to its data.
    async fn part_head(&mut self, conn: &mut Conn) -> Result<PartHead, NotReceived> {
        let (head, len) = loop {
            match PartHead::parse(&self.pending)? {
                Some(parsed) => break parsed,
                None => self.more(conn).await?,
            }
        };
        // Some parsers end a part at each line that begins with the boundary.
        let lines = &self.pending[..len];
        if self.boundary.begins(lines) == Some(true) || self.boundary.find(lines).is_some() {
            return Err(INNER.into());
        }
        self.pending.drain(..len);
        loop {
            match self.boundary.begins(&self.pending) {
                Some(true) => return Err(INNER.into()),
                Some(false) => break,
                None => self.more(conn).await?,
            }
        }
        if head.file_name == FileName::Absent {
            self.fields_len += len + self.boundary.delimiter_len() + 2;
        }
        Ok(head)
    }

    /// Receives the data of a field, and the delimiter after it.
    async fn field(&mut self, conn: &mut Conn) -> Result<Vec<u8>, NotReceived> {
        let mut searched = 0;
        let at = loop {
            if let Some(at) = self.boundary.find(&self.pending[searched..]) {
                break searched + at;
            }
            searched = self.pending.len().saturating_sub(self.boundary.delimiter_len() - 1);
            if self.fields_len + searched > FIELDS_MAX {
                return Err(FIELDS.into());
            }
            self.more(conn).await?;
        };
        self.fields_len += at;
        if self.fields_len > FIELDS_MAX {
            return Err(FIELDS.into());
        }
        let mut data: Vec<u8> = self.pending.drain(..at + self.boundary.delimiter_len()).collect();
        data.truncate(at);
        Ok(data)
    }

    /// Receives what follows a delimiter. Returns whether it is another part; otherwise the body has ended.
    async fn has_part(&mut self, conn: &mut Conn) -> Result<bool, NotReceived> {
        let after = loop {
            match Boundary::after_delimiter(&self.pending)? {
                AfterDelimiter::More => self.more(conn).await?,
                after => break after,
            }
        };
        self.pending.drain(..2);
        if after == AfterDelimiter::Part {
            return Ok(true);
        }
        // At most CRLF: one byte more is too much.
        while self.pending.len() <= 2 && self.take_some(conn).await? > 0 {}
        Boundary::check_epilogue(&self.pending)?;
        self.pending.clear();
        Ok(false)
    }
}
