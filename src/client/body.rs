//! What a request carries.

use std::io::{self, Read};

/// Bytes that can be read more than once, so that a request can be sent again.
pub trait Source {
    /// How many (bytes).
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads them from the beginning. What falls short of [`Self::len`] is never taken for whole.
    ///
    /// # Errors
    /// What opening them says.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

/// The body of a request.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// None.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// What is read from there.
    Source(&'a dyn Source),
}

/// A reader that gives exactly as many bytes as were promised, or fails and keeps the reason.
pub(super) struct Exact<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    failure: Option<io::Error>,
}

impl<'a> Exact<'a> {
    /// Nothing for no body.
    pub(super) fn open(body: Body<'a>) -> io::Result<Option<Self>> {
        let (inner, left): (Box<dyn Read + 'a>, _) = match body {
            Body::None => return Ok(None),
            Body::Bytes(bytes) => (Box::new(bytes), bytes.len() as u64),
            Body::Source(source) => (source.open()?, source.len()),
        };
        Ok(Some(Self { inner, left, failure: None }))
    }

    /// How much is still to come (bytes).
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Why it failed, if it did.
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
                // Whoever drives the connection must not send the rest, whatever he makes of it.
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}
