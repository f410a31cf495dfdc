//! A listener that bounds the number of connections and the lifetime of each.
//!
//! The bound must not enable a denial of service: if new connections waited while it is reached, 64 clients
//! that send nothing would cut the node off from its monitoring. So the oldest connection is closed for a new
//! one. A normal request takes milliseconds, and its connection is rarely the oldest.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep, sleep_until};

use super::lifetime::Lifetime;
use crate::base::accept::{Failures, Next, PAUSE_NS};

/// Accepts TCP connections within a bound.
pub(super) struct BoundedListener {
    inner: TcpListener,
    connections_max: usize,
    lifetime: Duration,
    failures: Failures,
    began: Instant,
    /// One sender for each connection, oldest first; sending closes the connection. A closed sender belongs
    /// to a connection that has ended.
    live: VecDeque<oneshot::Sender<()>>,
}

impl BoundedListener {
    /// Accepts from `inner` at most `connections_max` connections at the same time, each for `lifetime`,
    /// unless its handler keeps it for longer.
    ///
    /// # Panics
    /// If `connections_max` is 0.
    pub(super) fn new(inner: TcpListener, connections_max: usize, lifetime: Duration) -> Self {
        assert!(connections_max > 0, "a listener needs at least one connection");
        let (failures, live) = (Failures::default(), VecDeque::with_capacity(connections_max));
        Self { inner, connections_max, lifetime, failures, began: Instant::now(), live }
    }

    /// Closes the oldest connections until one more is allowed.
    async fn make_room(&mut self) {
        self.live.retain(|cut| !cut.is_closed());
        while self.live.len() >= self.connections_max {
            if let Some(oldest) = self.live.pop_front() {
                // An error means that the connection has just ended.
                let _ = oldest.send(());
                tracing::debug!("admin: too many connections, the oldest was closed");
            }
            // Lets that connection end and the others run: a flood must not monopolise the thread.
            tokio::task::yield_now().await;
        }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, addr)) => {
                    self.make_room().await;
                    let (cut, cut_seen) = oneshot::channel();
                    self.live.push_back(cut);
                    return (BoundedStream::new(stream, cut_seen, self.lifetime), addr);
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or_default();
                    let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    match self.failures.note(errno, "a connection of the admin API", now) {
                        Next::AtOnce => tokio::task::yield_now().await,
                        Next::Later => sleep(Duration::from_nanos(PAUSE_NS)).await,
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A TCP connection that fails once its lifetime has passed or the listener closes it.
pub(super) struct BoundedStream {
    stream: TcpStream,
    lifetime: Lifetime,
    deadline: Pin<Box<Sleep>>,
    /// `None` once the listener is gone (shutdown), which then no longer closes connections.
    cut: Option<oneshot::Receiver<()>>,
    over: bool,
}

impl BoundedStream {
    fn new(stream: TcpStream, cut: oneshot::Receiver<()>, lifetime: Duration) -> Self {
        let lifetime = Lifetime::new(lifetime);
        let deadline = Box::pin(sleep_until(lifetime.end()));
        Self { stream, lifetime, deadline, cut: Some(cut), over: false }
    }

    /// Returns the lifetime of the connection.
    pub(super) fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    /// Whether the lifetime is over, also after the extensions that it got meanwhile.
    fn is_too_old(&mut self, cx: &mut Context<'_>) -> bool {
        while self.deadline.as_mut().poll(cx).is_ready() {
            let end = self.lifetime.end();
            if end <= self.deadline.deadline() {
                return true;
            }
            self.deadline.as_mut().reset(end);
        }
        false
    }

    /// Fails if the connection is over, and otherwise registers the task to be woken when it is. Called by
    /// both reads and writes, since the HTTP code may wait for either.
    ///
    /// # Errors
    /// `TimedOut`.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            match Pin::new(cut).poll(cx) {
                Poll::Ready(Ok(())) => {
                    self.over = true;
                    self.cut = None;
                }
                Poll::Ready(Err(_listener_gone)) => self.cut = None,
                Poll::Pending => {}
            }
        }
        self.over = self.over || self.is_too_old(cx);
        if self.over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
