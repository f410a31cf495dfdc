//! The daemon's ring, runtime and HTTP without a volume: every GET is answered with the same head and a body
//! of constant length, which is prepared once in the connection's own buffer.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use hayloft::base::limits::{LINGER_NS, LISTEN_BACKLOG, NEEDLE_DATA_MAX, REPLY_HEADROOM};
use hayloft::base::size::ByteSize;
use hayloft::http::conn::{Conn, Deadlines, Next, Waiting};
use hayloft::http::date;
use hayloft::node::config::Limits;
use hayloft::ring::{Registration, Ring, RingOptions, prepare};
use hayloft::runtime::buffer::{Buf, Pool, Region};
use hayloft::runtime::op::{Op, Returned, Sock};
use hayloft::runtime::{Handle, Runtime};
use socket2::{Domain, Socket, Type};

use crate::error::Error;
use crate::reply::object_head;

/// Buffer memory (bytes): the daemon's share of one shard, enough for 1,000 connections with 64 KiB each.
const BUFFERS: usize = 64 << 20;
/// `Last-Modified` of every response (seconds since 1970).
const MODIFIED_SECONDS: u64 = 1_700_000_000;
const ETAG: u64 = 0x0123_4567_89ab_cdef;
/// Byte that response bodies consist of.
const BODY_BYTE: u8 = b'h';

/// Answers requests on `address` with bodies of `body` bytes, until the process is killed.
///
/// # Errors
/// When the ring cannot be set up, or the address cannot be listened on.
pub fn run(address: SocketAddr, body: ByteSize) -> Result<(), Error> {
    let body = usize::try_from(body.bytes()).unwrap_or(usize::MAX);
    if body == 0 || body as u64 > NEEDLE_DATA_MAX {
        let why = "--body is out of range; give a size from 1B to 1MiB";
        return Err(Error::Usage(why.to_owned()));
    }
    let listener = listen(address).map_err(|error| Error::Listen { address, error })?;
    let region = Region::map(1, BUFFERS).map_err(|error| Error::Step("map buffers", error))?;
    let prepared =
        prepare(1, &region, Registration::Wanted)?.pop().expect("prepare(1, ..) returns one ring");
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: 1, buffered: false };
    let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
    let mut ring = ring.map_err(|error| Error::Step("start a ring", error))?;
    let mut runtime =
        Runtime::new(&ring, pool, || unreachable!("no random numbers are drawn here"));
    let handle = runtime.handle().clone();
    let failed = runtime.block_on(&mut ring, accept(handle, Sock(listener.as_raw_fd()), body));
    Err(Error::Step("accept a connection", failed))
}

/// Listens with the socket options of the daemon.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

async fn accept(handle: Handle, listener: Sock, body: usize) -> std::io::Error {
    let waiting: Rc<Waiting> = Rc::new(RefCell::default());
    loop {
        let result = handle.submit(Op::Accept { listener }).await.result;
        let Ok(number) = i32::try_from(result) else {
            unreachable!("accept returns a descriptor or an errno, both fit i32")
        };
        if number < 0 {
            return std::io::Error::from_raw_os_error(-number);
        }
        let (own, waiting) = (handle.clone(), Rc::clone(&waiting));
        handle.spawn(async move { connection(own, Sock(number), &waiting, body).await });
    }
}

fn deadlines() -> Deadlines {
    let limits = Limits::default();
    let ns = |seconds: u32| u64::from(seconds) * 1_000_000_000;
    Deadlines {
        head: ns(limits.head_timeout_seconds),
        idle: ns(limits.idle_timeout_seconds),
        body: ns(limits.body_grace_seconds),
        send: ns(limits.send_timeout_seconds),
        rate: limits.body_min_bytes_per_second.into(),
        linger: LINGER_NS,
    }
}

async fn connection(handle: Handle, sock: Sock, waiting: &Rc<Waiting>, body: usize) {
    let deadlines = deadlines();
    let mut conn = Conn::new(&handle, sock, deadlines, waiting);
    // Without a buffer nothing can be answered: the connection is closed.
    let mut space = handle.pool().alloc(REPLY_HEADROOM + body);
    if let Some(buf) = &mut space {
        buf.fill(BODY_BYTE);
    }
    while let (Some(mut buf), Next::Request(head)) = (space.take(), conn.next_request().await) {
        let date = date::format(handle.wall() / 1_000_000_000);
        let reply = object_head(&date, body as u64, ETAG, MODIFIED_SECONDS);
        let start = reply.write_before(&mut buf, REPLY_HEADROOM);
        let sent = send(&handle, sock, buf, start..REPLY_HEADROOM + body, deadlines.send).await;
        space = sent.filter(|_| head.keep_alive);
        if space.is_none() {
            break;
        }
    }
    conn.close().await;
}

/// Like [`Conn::send`], but returns the buffer; `None` if the client does not take the bytes within `timeout`
/// nanoseconds, or the connection failed.
async fn send(
    handle: &Handle,
    sock: Sock,
    mut buf: Buf,
    range: std::ops::Range<usize>,
    timeout: u64,
) -> Option<Buf> {
    let (mut start, end) = (range.start, range.end);
    while start < end {
        let begin = u32::try_from(start).expect("buffers are shorter than 4 GiB");
        let len = u32::try_from(end - start).expect("buffers are shorter than 4 GiB");
        let op = Op::Send { sock, buf, start: begin, len };
        let completion = handle.submit_by(op, handle.now() + timeout).await;
        let Returned::One(back) = completion.returned else {
            unreachable!("a send returns one buffer")
        };
        buf = back;
        match usize::try_from(completion.result) {
            Ok(sent) if sent > 0 => start += sent,
            _ => return None,
        }
    }
    Some(buf)
}
