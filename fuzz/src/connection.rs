//! Connections: the same bytes get the same answers, however they are cut into pieces on their way,
//! and whatever of the replies the peer takes at once.
//!
//! Input: a count of cuts, how much the peer takes at once, the cuts (two bytes each), then the bytes of
//! the connection.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::limits::HEAD_BUFFER;
use hayloft::http::conn::{Conn, Deadlines, Next, PeerError, Waiting};
use hayloft::http::head::{Head, Method};
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::Sock;
use hayloft::runtime::{Handle, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use crate::input::Input;
use crate::wire::{Wire, WireDriver};

/// Longest stream: two heads of the greatest length and more.
const STREAM_MAX: usize = 20_000;
/// Up to here it also arrives byte by byte.
const SINGLE_BYTES_MAX: usize = 1500;
const CUTS_MAX: usize = 12;
/// Longer bodies are refused.
const BODY_MAX: u64 = 4096;
const SECOND: u64 = 1_000_000_000;
const DEADLINES: Deadlines = Deadlines {
    head: SECOND,
    idle: SECOND,
    body: SECOND,
    send: SECOND,
    rate: 1000,
    linger: SECOND,
};

thread_local! {
    static POOL: Pool = Pool::new(&Region::map(1, 1 << 20).expect("1 MiB of memory"), 0);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let count = usize::from(input.u8()) % (CUTS_MAX + 1);
    let send_max = usize::from(input.u8());
    let cuts: Vec<u16> = (0..count).map(|_| input.u16()).collect();
    let stream = input.take(STREAM_MAX);
    let cuts: Vec<usize> =
        cuts.into_iter().map(|cut| usize::from(cut) % (stream.len() + 1)).collect();

    let whole = exchange(stream, &[], usize::MAX);
    assert_eq!(exchange(stream, &cuts, send_max), whole, "cut at {cuts:?}");
    if stream.len() <= SINGLE_BYTES_MAX {
        let bytes: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(exchange(stream, &bytes, send_max), whole, "byte by byte");
    }
}

/// What the peer is sent, and how the connection ends.
fn exchange(stream: &[u8], cuts: &[usize], send_max: usize) -> (String, String) {
    POOL.with(|pool| {
        let wire = Rc::new(RefCell::new(Wire::new(pool, stream, cuts, send_max)));
        let mut driver = WireDriver(Rc::clone(&wire));
        let mut runtime = Runtime::new(&driver, pool.clone(), || 4);
        let handle = runtime.handle().clone();
        let waiting = Rc::new(Waiting::default());
        let left = Rc::clone(&waiting);
        let end = runtime.block_on(&mut driver, serve(handle.clone(), waiting));
        assert_eq!((handle.ops_in_flight(), left.borrow().len()), (0, 0), "left behind");
        drop((runtime, handle));
        assert_eq!(pool.used(), 0, "buffers that were not given back");
        let wire = wire.borrow();
        assert!(wire.closed, "the connection was left open");
        (wire.sent.escape_ascii().to_string(), end)
    })
}

/// Answers each request with what was understood of it.
async fn serve(handle: Handle, waiting: Rc<Waiting>) -> String {
    let mut conn = Conn::new(&handle, Sock(3), DEADLINES, &waiting);
    loop {
        let mut head = match conn.next_request().await {
            Next::Request(head) => head,
            Next::Malformed(reject) => {
                let target = conn.refused_target().unwrap_or_default().escape_ascii().to_string();
                let said = (reject.status.code(), conn.is_head_request(), target);
                send(&mut conn, &format!("{said:?}\n"), true).await;
                conn.linger().await;
                return format!("refused: {}", reject.reason);
            }
            Next::Closed => {
                conn.close().await;
                return "the stream ended".to_owned();
            }
            Next::Idle | Next::Late => panic!("late, although time stands still"),
        };
        if head.method == Method::Post {
            // As if another shard owned what it is about.
            (conn, head) = Conn::attach(&handle, conn.detach(), DEADLINES, &waiting);
            assert!(conn.has_moved());
        }
        if !answer(&handle, &mut conn, &head).await {
            conn.linger().await;
            return "the last request was answered".to_owned();
        }
    }
}

/// Whether the connection goes on.
async fn answer(handle: &Handle, conn: &mut Conn, head: &Head) -> bool {
    let bytes = conn.head_bytes();
    let target = head.target.of(bytes).escape_ascii().to_string();
    // A blank line in front may have been read and forgotten.
    let text = bytes[..head.len].trim_ascii_start();
    let said = format!("{:?} {target} {:016x}", head.method, xxh3_64(text));
    let body = match head.content_length.unwrap_or(0) {
        BODY_MAX.. => return send(conn, &format!("{said} too large\n"), true).await && false,
        0 => Ok(0),
        len => body(handle, conn, len).await,
    };
    match body {
        Ok(hash) => {
            let is_last = !head.keep_alive;
            send(conn, &format!("{said} {hash:016x}\n"), is_last).await && head.keep_alive
        }
        Err(PeerError::Closed) => send(conn, &format!("{said} cut off\n"), true).await && false,
        Err(PeerError::Late) => panic!("late, although time stands still"),
    }
}

/// XXH3-64 of a body, received in one piece or in two as an upload in parts is.
async fn body(handle: &Handle, conn: &mut Conn, len: u64) -> Result<u64, PeerError> {
    let whole = usize::try_from(len).expect("few KiB");
    let parts =
        if len.is_multiple_of(2) { vec![0..whole / 2, whole / 2..whole] } else { vec![0..whole] };
    let mut buf = handle.pool().alloc(whole).expect("one connection needs few");
    for part in parts {
        conn.await_body(part.len() as u64).await?;
        let (back, result) = conn.read_body(buf, part.start, part.len()).await;
        result?;
        buf = back;
    }
    Ok(xxh3_64(&buf[..whole]))
}

async fn send(conn: &mut Conn, text: &str, is_last: bool) -> bool {
    let mut buf = conn.reply_buffer(is_last).expect("one connection needs few");
    let text = &text.as_bytes()[..text.len().min(HEAD_BUFFER)];
    buf[..text.len()].copy_from_slice(text);
    conn.send(buf, 0, text.len()).await.expect("the peer takes everything");
    true
}
