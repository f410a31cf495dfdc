//! Tests of connections in a simulated world: when each deadline starts, and how long it is.

use std::cell::Cell;

use super::*;
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;

const SECOND: u64 = 1_000_000_000;
const DEADLINES: Deadlines = Deadlines {
    head: 5 * SECOND,
    idle: 60 * SECOND,
    body: 3 * SECOND,
    send: 10 * SECOND,
    rate: 16 * 1024,
    linger: 2 * SECOND,
};
/// Time that the minimum rate allows for one piece of a body (nanoseconds).
const PIECE: u64 = 4 * SECOND;
const REQUEST: &[u8] = b"GET /1/2/3/0123456789abcdef HTTP/1.1\r\nHost: a\r\n\r\n";

/// The client end of a connection.
#[derive(Clone)]
struct Client {
    handle: Handle,
    sock: Sock,
}

impl Client {
    async fn send(&self, bytes: &[u8]) {
        for piece in bytes.chunks(HEAD_BUFFER) {
            let mut buf = self.handle.pool().alloc(HEAD_BUFFER).expect("a buffer");
            buf[..piece.len()].copy_from_slice(piece);
            let (mut start, end) = (0, u32::try_from(piece.len()).unwrap());
            while start < end {
                let op = Op::Send { sock: self.sock, buf, start, len: end - start };
                let completion = self.handle.submit(op).await;
                let Returned::One(back) = completion.returned else { panic!("no buffer") };
                buf = back;
                let sent = u32::try_from(completion.result).expect("the connection is open");
                start += sent;
            }
        }
    }

    /// Receives available bytes. Returns their number, 0 at the end of the stream.
    async fn receive(&self) -> usize {
        let completion = self.handle.submit(Op::RecvAny { sock: self.sock }).await;
        usize::try_from(completion.result).expect("the connection is open")
    }

    async fn close(&self) {
        self.handle.submit(Op::Close { sock: self.sock }).await;
    }

    async fn sleep(&self, time: u64) {
        self.handle.sleep_until(self.handle.now() + time).await;
    }

    /// Runs a task with this client concurrently to the test.
    fn meanwhile<F: Future<Output = ()> + 'static>(&self, what: impl FnOnce(Self) -> F) {
        self.handle.spawn(what(self.clone()));
    }
}

/// Runs `test` with both ends of a connection.
fn with_conn<T: 'static, F: Future<Output = T> + 'static>(
    test: impl FnOnce(Conn, Client) -> F + 'static,
) -> T {
    let pool = Pool::new(&Region::map(1, 16 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let mut driver = world.member(0, &pool);
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let handle = runtime.handle().clone();
    let client = Client { handle: handle.clone(), sock: world.connect(Sock(0), usize::MAX) };
    let result = Rc::new(Cell::new(None));
    let slot = Rc::clone(&result);
    runtime.handle().spawn(async move {
        let accepted = handle.submit(Op::Accept { listener: Sock(0) }).await.result;
        let sock = Sock(i32::try_from(accepted).unwrap());
        let conn = Conn::new(&handle, sock, DEADLINES, &Rc::default());
        slot.set(Some(test(conn, client).await));
    });
    loop {
        runtime.run_ready();
        if let Some(result) = result.take() {
            return result;
        }
        runtime.hand_over(&mut driver);
        world.next(&[runtime.earliest(u64::MAX)]).expect("somebody waits for something");
        runtime.collect(&mut driver, world.now());
    }
}

/// Asserts that `time` nanoseconds have passed since `start`, plus at most half a second for the network.
#[track_caller]
fn assert_waited(handle: &Handle, start: u64, time: u64) {
    let waited = handle.now() - start;
    assert!((time..time + SECOND / 2).contains(&waited), "{waited} instead of {time} ns");
}

async fn request(conn: &mut Conn) -> Head {
    match conn.next_request().await {
        Next::Request(head) => head,
        Next::Malformed(reject) => panic!("{reject:?}"),
        _ => panic!("no request"),
    }
}

/// Sends a request followed by `body` and receives its head. Returns a buffer for a body.
async fn begin(conn: &mut Conn, client: &Client, body: &[u8]) -> Buf {
    client.send(&[REQUEST, body].concat()).await;
    request(conn).await;
    client.handle.pool().alloc(1 << 20).expect("a buffer")
}

#[test]
fn head_timeout_starts_at_the_first_byte() {
    with_conn(|mut conn, client| async move {
        let start = client.handle.now();
        client.meanwhile(|client| async move {
            client.sleep(30 * SECOND).await;
            for byte in REQUEST.chunks(1) {
                client.send(byte).await;
                client.sleep(SECOND / 2).await;
            }
        });
        assert!(matches!(conn.next_request().await, Next::Late));
        assert_waited(&client.handle, start, 35 * SECOND);
        assert_eq!(conn.buffered(), 0, "what came is forgotten");
    });
}

#[test]
fn head_received_within_the_timeout_is_accepted() {
    with_conn(|mut conn, client| async move {
        client.meanwhile(|client| async move {
            client.send(&REQUEST[..9]).await;
            client.sleep(4 * SECOND).await;
            client.send(&REQUEST[9..]).await;
        });
        let start = client.handle.now();
        assert_eq!(request(&mut conn).await.len, REQUEST.len());
        assert_waited(&client.handle, start, 4 * SECOND);
        assert!((start..start + SECOND).contains(&conn.began()), "at its first byte");
    });
}

#[test]
fn idle_timeout_applies_before_each_request() {
    with_conn(|mut conn, client| async move {
        let start = client.handle.now();
        assert!(matches!(conn.next_request().await, Next::Idle));
        assert_waited(&client.handle, start, 60 * SECOND);
        client.send(REQUEST).await;
        request(&mut conn).await;
        let start = client.handle.now();
        assert!(matches!(conn.next_request().await, Next::Idle));
        assert_waited(&client.handle, start, 60 * SECOND);
    });
}

#[test]
fn blank_line_restarts_the_idle_timeout() {
    with_conn(|mut conn, client| async move {
        client.meanwhile(|client| async move {
            client.sleep(40 * SECOND).await;
            client.send(b"\r\n").await;
            client.sleep(40 * SECOND).await;
            client.send(b"G").await;
        });
        let start = client.handle.now();
        assert!(matches!(conn.next_request().await, Next::Late));
        assert_waited(&client.handle, start, 85 * SECOND);
        client.send(b"\r\n").await;
        let start = client.handle.now();
        assert!(matches!(conn.next_request().await, Next::Idle));
        assert_waited(&client.handle, start, 60 * SECOND);
        client.send(b"\r").await;
        let start = client.handle.now();
        assert!(matches!(conn.next_request().await, Next::Late), "half a line is a beginning");
        assert_waited(&client.handle, start, 5 * SECOND);
    });
}

#[test]
fn blank_line_before_a_request_is_skipped() {
    with_conn(|mut conn, client| async move {
        client.send(b"\r\n").await;
        client.meanwhile(|client| async move {
            client.sleep(10 * SECOND).await;
            client.send(&REQUEST[..5]).await;
            client.sleep(SECOND).await;
            client.send(&[&REQUEST[5..], b"body"].concat()).await;
        });
        let start = client.handle.now();
        let head = request(&mut conn).await;
        assert_eq!(head.target.of(conn.head_bytes()), b"/1/2/3/0123456789abcdef");
        assert!((10 * SECOND..11 * SECOND).contains(&(conn.began() - start)), "at its first byte");
        assert_eq!(conn.buffered(), 4);
    });
}

#[test]
fn closed_connection_is_reported_as_closed_not_late() {
    for sent in [0, 1, REQUEST.len()] {
        with_conn(move |mut conn, client| async move {
            let start = client.handle.now();
            client.send(&REQUEST[..sent]).await;
            client.close().await;
            if sent == REQUEST.len() {
                request(&mut conn).await;
                let buf = client.handle.pool().alloc(1 << 20).unwrap();
                assert_eq!(conn.read_body(buf, 0, 1).await.1, Err(PeerError::Closed));
                assert_eq!(conn.await_body(1).await, Err(PeerError::Closed));
            }
            assert!(matches!(conn.next_request().await, Next::Closed));
            assert_waited(&client.handle, start, 0);
        });
    }
}

/// Returns a request head of `len` bytes.
fn long(len: usize) -> Vec<u8> {
    let value = "b".repeat(len - REQUEST.len() - 5);
    let field = format!("a: {value}\r\n\r\n");
    [&REQUEST[..REQUEST.len() - 2], field.as_bytes()].concat()
}

#[test]
fn longest_head_fits_at_any_offset_of_the_buffer() {
    for before in [0, 5, 700, 3000] {
        with_conn(move |mut conn, client| async move {
            let earlier = if before == 0 { Vec::new() } else { long(REQUEST.len() + before) };
            client.send(&[&earlier, &long(HEAD_BUFFER)[..], REQUEST].concat()).await;
            for _ in 0..usize::from(before > 0) {
                assert_eq!(request(&mut conn).await.len, earlier.len());
            }
            assert_eq!(request(&mut conn).await.len, HEAD_BUFFER);
            assert_eq!(request(&mut conn).await.len, REQUEST.len());
        });
    }
}

#[test]
fn head_longer_than_the_buffer_is_refused_with_431() {
    with_conn(|mut conn, client| async move {
        client.send(&[REQUEST, &long(HEAD_BUFFER + 1)].concat()).await;
        request(&mut conn).await;
        let Next::Malformed(reject) = conn.next_request().await else { panic!("it is too long") };
        assert_eq!(reject.status, Status::HEADER_FIELDS_TOO_LARGE);
        assert_eq!(conn.refused_method(), Some(&b"GET"[..]));
        assert_eq!(conn.refused_target(), Some(&b"/1/2/3/0123456789abcdef"[..]));
        assert!(!conn.is_head_request());
    });
}

#[test]
fn bytes_after_the_head_begin_the_body() {
    with_conn(|mut conn, client| async move {
        let mut buf = begin(&mut conn, &client, b"0123456789").await;
        assert_eq!(conn.buffered(), 10);
        buf[..20].fill(b'-');
        let (buf, result) = conn.read_body(buf, 5, 4).await;
        assert_eq!((result, &buf[..10]), (Ok(()), &b"-----0123-"[..]));
        assert_eq!(conn.buffered(), 6);
        client.send(b"abc").await;
        let (buf, result) = conn.read_body(buf, 0, 9).await;
        assert_eq!((result, &buf[..10]), (Ok(()), &b"456789abc-"[..]));
        assert_eq!(conn.buffered(), 0);
    });
}

#[test]
fn single_byte_after_the_head_is_part_of_the_body() {
    with_conn(|mut conn, client| async move {
        let mut buf = begin(&mut conn, &client, b"x").await;
        buf[..2].fill(b'-');
        let (buf, result) = conn.read_body(buf, 0, 1).await;
        assert_eq!((result, &buf[..2], conn.buffered()), (Ok(()), &b"x-"[..], 0));
    });
}

#[test]
fn body_is_received_after_a_reply_took_the_head_buffer() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        assert!(conn.reply_buffer(false).is_some());
        client.send(b"body").await;
        let (buf, result) = conn.read_body(buf, 0, 4).await;
        assert_eq!((result, &buf[..4]), (Ok(()), &b"body"[..]));
    });
}

#[test]
fn connection_with_few_bytes_received_holds_no_buffer() {
    for (sent, has_buffer) in
        [(1, false), (RECEIVE_HEADROOM, false), (RECEIVE_HEADROOM + 1, true), (3000, true)]
    {
        with_conn(move |mut conn, client| async move {
            let head = long(4000);
            let (first, rest) = (head[..sent].to_vec(), head[sent..].to_vec());
            client.meanwhile(move |client| async move {
                client.send(&first).await;
                client.sleep(SECOND).await;
                assert_eq!(client.handle.pool().used() > 0, has_buffer, "after {sent} bytes");
                client.send(&rest).await;
            });
            assert_eq!(request(&mut conn).await.len, 4000);
            assert!(conn.head_bytes().starts_with(&head));
        });
    }
}

#[test]
fn only_buffered_bytes_can_be_skipped() {
    with_conn(|mut conn, client| async move {
        begin(&mut conn, &client, b"0123456789").await;
        assert!(!conn.skip_buffered(11));
        assert!(!conn.skip_buffered(u64::MAX));
        assert_eq!(conn.buffered(), 10);
        assert!(conn.skip_buffered(4));
        assert!(conn.skip_buffered(6));
        assert!(conn.skip_buffered(0));
        assert!(!conn.skip_buffered(1));
        client.send(REQUEST).await;
        assert_eq!(request(&mut conn).await.len, REQUEST.len(), "and it is gone");
    });
}

#[test]
fn time_at_the_minimum_rate_is_exact_and_does_not_overflow() {
    for (bytes, time) in [
        (0, 0),
        (1, SECOND / DEADLINES.rate),
        (16 << 10, SECOND),
        (BODY_PIECE, PIECE),
        (usize::MAX, u64::MAX / DEADLINES.rate),
    ] {
        assert_eq!(DEADLINES.allowance(bytes), time, "{bytes} bytes");
    }
}

#[test]
fn each_piece_of_a_body_has_its_own_deadline() {
    // Length of the body, number of bytes sent, time allowed for the piece that is incomplete.
    for (len, come, time) in [
        (2 * BODY_PIECE, 0, PIECE),
        (2 * BODY_PIECE, 10, PIECE),
        (2 * BODY_PIECE, BODY_PIECE, PIECE),
        (BODY_PIECE + BODY_PIECE / 4, BODY_PIECE, PIECE / 4),
        (BODY_PIECE / 2, 0, PIECE / 2),
    ] {
        with_conn(move |mut conn, client| async move {
            let buf = begin(&mut conn, &client, b"").await;
            client.meanwhile(move |client| async move { client.send(&vec![7; come]).await });
            let start = client.handle.now();
            let (buf, result) = conn.read_body(buf, 0, len).await;
            assert_eq!(result, Err(PeerError::Late));
            assert_waited(&client.handle, start, DEADLINES.body + time);
            assert!(buf[..come].iter().all(|byte| *byte == 7));
        });
    }
}

#[test]
fn slow_body_above_the_minimum_rate_is_accepted() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        client.meanwhile(|client| async move {
            for piece in 0..4 {
                client.sleep(6 * SECOND).await;
                client.send(&[piece; BODY_PIECE]).await;
            }
        });
        let start = client.handle.now();
        let (buf, result) = conn.read_body(buf, 0, 4 * BODY_PIECE).await;
        assert_eq!(result, Ok(()));
        assert_waited(&client.handle, start, 24 * SECOND);
        let at = |n: usize| (buf[n * BODY_PIECE], buf[(n + 1) * BODY_PIECE - 1]);
        assert_eq!([at(0), at(1), at(2), at(3)], [(0, 0), (1, 1), (2, 2), (3, 3)]);
    });
}

#[test]
fn await_body_returns_after_the_receive_headroom() {
    // Length of the body, number of bytes sent at first, whether these are enough.
    for (len, come, is_enough) in [
        (5, 5, true),
        (5, 4, false),
        (1 << 20, RECEIVE_HEADROOM, true),
        (1 << 20, RECEIVE_HEADROOM - 1, false),
        (0, 0, true),
    ] {
        with_conn(move |mut conn, client| async move {
            begin(&mut conn, &client, b"").await;
            client.send(&vec![7; come / 2]).await;
            client.send(&vec![8; come - come / 2]).await;
            let start = client.handle.now();
            let result = conn.await_body(len).await;
            let enough = usize::try_from(len).unwrap().min(RECEIVE_HEADROOM);
            if is_enough {
                assert_eq!((result, conn.buffered()), (Ok(()), come));
                let forgotten = conn.refused_method().is_none() && conn.refused_target().is_none();
                assert!(forgotten || come == 0, "the head is gone when something came");
                assert_waited(&client.handle, start, 0);
            } else {
                assert_eq!(result, Err(PeerError::Late));
                let time = DEADLINES.body + DEADLINES.allowance(enough);
                assert_waited(&client.handle, start, time);
            }
        });
    }
}

#[test]
fn unread_reply_times_out() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        // The window takes 64 KiB; the client reads nothing.
        let start = client.handle.now();
        assert_eq!(conn.send(buf, 0, 1 << 20).await, Err(PeerError::Late));
        assert_waited(&client.handle, start, DEADLINES.send);
    });
}

#[test]
fn reply_read_below_the_minimum_rate_times_out() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        client.meanwhile(|client| async move {
            // At most 7 KiB each.
            for _ in 0..100 {
                client.sleep(8 * SECOND).await;
                client.receive().await;
            }
        });
        let start = client.handle.now();
        assert_eq!(conn.send(buf, 0, 1 << 20).await, Err(PeerError::Late));
        // The first piece was sent at once.
        assert_waited(&client.handle, start, DEADLINES.send + PIECE);
    });
}

#[test]
fn each_piece_of_a_reply_has_its_own_deadline() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        client.meanwhile(|client| async move {
            for _ in 0..2 {
                client.sleep(6 * SECOND).await;
                let buf = client.handle.pool().alloc(BODY_PIECE / 2).unwrap();
                let len = u32::try_from(BODY_PIECE / 2).unwrap();
                let op = Op::Recv { sock: client.sock, buf, start: 0, len, whole: true };
                assert_eq!(client.handle.submit(op).await.result, i64::from(len));
            }
        });
        let start = client.handle.now();
        // The first piece is sent at once, the second one within twelve seconds, the third one not at all.
        assert_eq!(conn.send(buf, 0, 1 << 20).await, Err(PeerError::Late));
        assert_waited(&client.handle, start, 12 * SECOND + DEADLINES.send);
    });
}

#[test]
fn deadline_of_the_last_reply_piece_follows_its_length() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        assert_eq!(conn.send(buf, 0, BODY_PIECE).await, Ok(()), "as much as is on its way");
        let buf = client.handle.pool().alloc(1 << 20).unwrap();
        client.meanwhile(|client| async move {
            client.sleep(9 * SECOND).await;
            client.receive().await;
        });
        let start = client.handle.now();
        assert_eq!(conn.send(buf, BODY_PIECE, BODY_PIECE / 4).await, Err(PeerError::Late));
        assert_waited(&client.handle, start, DEADLINES.send + PIECE / 4);
    });
}

#[test]
fn reply_read_in_time_is_sent_completely() {
    with_conn(|mut conn, client| async move {
        let buf = begin(&mut conn, &client, b"").await;
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        client.meanwhile(|client| async move {
            loop {
                client.sleep(SECOND).await;
                for _ in 0..4 {
                    count.set(count.get() + client.receive().await);
                }
            }
        });
        let len = 5 * BODY_PIECE + 17;
        assert_eq!(conn.send(buf, 100, len).await, Ok(()));
        while taken.get() < len {
            client.sleep(SECOND).await;
        }
        assert_eq!(taken.get(), len);
    });
}

#[test]
fn lingering_close_discards_input_until_its_deadline() {
    with_conn(|mut conn, client| async move {
        begin(&mut conn, &client, b"").await;
        let closed = Rc::new(Cell::new(0));
        let seen = Rc::clone(&closed);
        client.meanwhile(|client| async move {
            assert_eq!(client.receive().await, 0, "it sends nothing more");
            seen.set(client.handle.now());
        });
        client.meanwhile(|client| async move {
            for _ in 0..8 {
                client.send(b"more").await;
                client.sleep(SECOND / 5).await;
            }
        });
        let start = client.handle.now();
        let waiting = Rc::clone(&conn.waiting);
        conn.linger().await;
        assert_waited(&client.handle, start, DEADLINES.linger);
        assert!(closed.get() < start + SECOND, "at once");
        assert!(waiting.borrow().is_empty());
    });
}

#[test]
fn lingering_close_ends_when_the_peer_closes() {
    with_conn(|mut conn, client| async move {
        begin(&mut conn, &client, b"").await;
        client.send(b"more").await;
        client.meanwhile(|client| async move {
            client.sleep(SECOND).await;
            assert_eq!(client.handle.pool().used(), 0, "no buffer is held meanwhile");
            client.close().await;
        });
        let start = client.handle.now();
        conn.linger().await;
        assert_waited(&client.handle, start, SECOND);
    });
}

#[test]
fn short_reply_reuses_the_head_buffer() {
    with_conn(|mut conn, client| async move {
        let pool = client.handle.pool().clone();
        let used = |conn: &mut Conn, is_last| {
            let before = pool.used();
            let buf = conn.reply_buffer(is_last);
            assert!(buf.is_some());
            pool.used() - before
        };
        client.send(REQUEST).await;
        request(&mut conn).await;
        assert_eq!(used(&mut conn, false), 0);
        client.send(&[REQUEST, b"next"].concat()).await;
        request(&mut conn).await;
        assert!(used(&mut conn, false) > 0, "what came behind it is still needed");
        assert_eq!(conn.buffered(), 4);
        assert_eq!(used(&mut conn, true), 0);
        assert_eq!(conn.buffered(), 0);
        assert!(used(&mut conn, true) > 0, "there is none");
    });
}

#[test]
fn detached_connection_continues_in_another_shard() {
    with_conn(|mut conn, client| async move {
        client.send(&[REQUEST, b"0123"].concat()).await;
        let head = request(&mut conn).await;
        assert!(!conn.has_moved());
        let (began, waiting) = (conn.began(), Rc::clone(&conn.waiting));
        client.sleep(SECOND).await;
        let detached = conn.detach();
        assert!(waiting.borrow().is_empty());
        let (mut conn, moved) = Conn::attach(&client.handle, detached, DEADLINES, &waiting);
        assert_eq!(moved, head);
        assert!(conn.has_moved());
        assert_eq!((conn.began(), conn.buffered()), (began, 4));
        assert_eq!(head.target.of(conn.head_bytes()), b"/1/2/3/0123456789abcdef");
        assert!(conn.skip_buffered(4));
        client.send(REQUEST).await;
        request(&mut conn).await;
        assert!(!conn.has_moved(), "the next one did not");
    });
}

#[test]
fn waiting_connections_are_listed_with_a_first_request_flag() {
    with_conn(|mut conn, client| async move {
        let waiting = Rc::clone(&conn.waiting);
        for is_fresh in [true, false] {
            let seen = Rc::clone(&waiting);
            client.meanwhile(move |client| async move {
                client.sleep(SECOND).await;
                let first = seen.borrow().iter().next().and_then(|(_, wait)| *wait);
                assert_eq!(first.map(|wait| wait.is_fresh), Some(is_fresh));
                assert_eq!(client.handle.pool().used(), 0, "no buffer is held meanwhile");
                client.send(REQUEST).await;
            });
            request(&mut conn).await;
            assert!(waiting.borrow().iter().all(|(_, wait)| wait.is_none()));
        }
        assert_eq!(&*conn.peer().await, "simulated");
        conn.close().await;
        assert!(waiting.borrow().is_empty());
        assert_eq!(client.receive().await, 0);
    });
}
