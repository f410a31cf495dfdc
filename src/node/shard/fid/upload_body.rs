//! The data of an uploaded file: the body of the request, or a part of it.

use super::file_head::FileHead;
use crate::http::body_reader::{BodyReader, NotReceived};
use crate::http::conn::Conn;
use crate::http::fid::Boundary;
use crate::http::form_reader::{Filled, FormReader};
use crate::http::head::Head;
use crate::runtime::buffer::Buf;

/// The data of an uploaded file.
pub enum UploadBody {
    /// The whole body.
    Raw(BodyReader),
    /// A part of a form.
    Form(FormReader),
}

impl UploadBody {
    /// Begins to receive the body of a request: up to the data of the file. `raw` is the head of the file if
    /// the body is no form.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn begin(
        conn: &mut Conn,
        head: &Head,
        form: Option<Boundary>,
        raw: FileHead,
    ) -> Result<(Self, FileHead), NotReceived> {
        let body = BodyReader::new(head);
        let Some(boundary) = form else { return Ok((Self::Raw(body), raw)) };
        let (form, part) = FormReader::begin(conn, body, boundary).await?;
        Ok((Self::Form(form), FileHead::try_from(part)?))
    }

    /// Expected length of the data (bytes); `None` if only the end shows it. The data of a form may be
    /// another length.
    pub fn expected_len(&self) -> Option<u64> {
        match self {
            Self::Raw(body) => body.left(),
            Self::Form(form) => form.expected_len(),
        }
    }

    /// Receives data into `buf[start..start + len]` until that is full or the data ends. Returns the buffer
    /// in either case.
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
        match self {
            Self::Form(form) => form.fill(conn, buf, start, len).await,
            Self::Raw(body) => {
                let (buf, filled) = body.fill(conn, buf, start, len).await;
                let filled = filled.map(|filled| Filled { len: filled, is_end: filled < len });
                (buf, filled)
            }
        }
    }

    /// Returns whether the data ends here.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn ends_here(&mut self, conn: &mut Conn) -> Result<bool, NotReceived> {
        match self {
            Self::Form(form) => form.ends_here(conn).await,
            Self::Raw(body) => body.ends_here(conn).await,
        }
    }

    /// Waits for more data, or the end of the body, without a buffer.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn await_data(&mut self, conn: &mut Conn) -> Result<(), NotReceived> {
        match self {
            Self::Form(form) => form.await_data(conn).await,
            Self::Raw(body) => body.await_data(conn).await,
        }
    }

    /// Receives what follows the data, up to the end of the body.
    ///
    /// # Errors
    /// See [`NotReceived`].
    ///
    /// # Panics
    /// If the data has not ended.
    pub async fn finish(self, conn: &mut Conn) -> Result<(), NotReceived> {
        match self {
            Self::Form(form) => form.finish(conn).await,
            Self::Raw(_) => Ok(()),
        }
    }
}
