//! A listener that bounds how many connections there are and how long each lives.
//!
//! The bound must not become the weapon: if newcomers waited while it is reached, 64 clients that
//! send nothing would hide the node from its own monitoring. So the oldest connection is cut for the
//! newest. An honest request takes milliseconds and is rarely the oldest for long.

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
use tokio::time::{Sleep, sleep};

use crate::accept::{Failures, Next, PAUSE_NS};

/// Accepts TCP connections within a bound.
pub(super) struct BoundedListener {
    inner: TcpListener,
    connections_max: usize,
    lifetime: Duration,
    failures: Failures,
    began: Instant,
    /// One entry for each connection, oldest first; sending cuts it. A closed entry is a connection
    /// that has ended.
    live: VecDeque<oneshot::Sender<()>>,
}

impl BoundedListener {
    /// At most `connections_max` connections of `inner` at a time, each for at most `lifetime`.
    pub(super) fn new(inner: TcpListener, connections_max: usize, lifetime: Duration) -> Self {
        assert!(connections_max > 0, "a listener without connections");
        let (failures, live) = (Failures::default(), VecDeque::with_capacity(connections_max));
        Self { inner, connections_max, lifetime, failures, began: Instant::now(), live }
    }

    async fn make_room(&mut self) {
        self.live.retain(|cut| !cut.is_closed());
        while self.live.len() >= self.connections_max {
            if let Some(oldest) = self.live.pop_front() {
                // An error means that it has just ended by itself.
                let _ = oldest.send(());
                tracing::debug!("admin: too many connections, the oldest was cut");
            }
            // Lets it end, and lets the others get on: a flood must not keep this task alone busy.
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

/// A TCP connection that fails once its time is up or it is cut.
pub(super) struct BoundedStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// None once the listener is gone (shutdown) and nobody can cut any more.
    cut: Option<oneshot::Receiver<()>>,
    over: bool,
}

impl BoundedStream {
    fn new(stream: TcpStream, cut: oneshot::Receiver<()>, lifetime: Duration) -> Self {
        Self { stream, deadline: Box::pin(sleep(lifetime)), cut: Some(cut), over: false }
    }

    /// Fails if the connection is over, and otherwise wakes the task when it will be. Reads and writes
    /// both ask: which of the two the HTTP code waits for at a moment is its own business.
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
        self.over = self.over || self.deadline.as_mut().poll(cx).is_ready();
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
