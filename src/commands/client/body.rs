//! Bodies of requests.

use std::io::{self, Read};

/// A body that can be read more than once, so that a request can be sent again.
pub trait Source {
    /// Length (bytes).
    fn len(&self) -> u64;

    /// Returns whether the length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a reader at the first byte. If it yields fewer bytes than [`Self::len`], the request fails.
    ///
    /// # Errors
    /// The error of opening the source.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

/// The body of a request.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// No body.
    None,
    /// A body in memory.
    Bytes(&'a [u8]),
    /// A body that is read while it is sent.
    Source(&'a dyn Source),
}

/// A reader that yields exactly the announced number of bytes, or fails and keeps the reason.
pub(super) struct Exact<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    failure: Option<io::Error>,
}

impl<'a> Exact<'a> {
    /// Opens a body; `None` for [`Body::None`].
    pub(super) fn open(body: Body<'a>) -> io::Result<Option<Self>> {
        let (inner, left): (Box<dyn Read + 'a>, _) = match body {
            Body::None => return Ok(None),
            Body::Bytes(bytes) => (Box::new(bytes), bytes.len() as u64),
            Body::Source(source) => (source.open()?, source.len()),
        };
        Ok(Some(Self { inner, left, failure: None }))
    }

    /// Returns how much is left to read (bytes).
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Returns the error of the source, if it failed.
    pub(super) fn failure(self) -> Option<io::Error> {
        self.failure
    }
}

impl Read for Exact<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        let result = match self.inner.read(&mut out[..most]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        match result {
            Ok(len) => {
                self.left -= len as u64;
                Ok(len)
            }
            Err(error) => {
                // The HTTP library gets an error of the same kind, so that it does not send the rest.
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}
