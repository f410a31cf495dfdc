use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Bench, bench, bench_with, reap, token};
use crate::ring::*;
use crate::runtime::op::{Op, Piece};

impl Bench {
    /// Waits for the completion of the only operation in flight.
    fn completed(&mut self) -> Completion {
        let mut completed = reap(&mut self.ring);
        while completed.is_empty() {
            completed = reap(&mut self.ring);
        }
        completed.pop().unwrap()
    }

    fn connect(&mut self, address: SocketAddr) -> i64 {
        self.ring.submit(token(1), Op::Connect { address });
        self.completed().result
    }

    /// Connects to a listener. Returns the connection, and its other end.
    fn connected(&mut self, listener: &TcpListener) -> (Sock, TcpStream) {
        let connected = self.connect(listener.local_addr().unwrap());
        let sock = Sock(i32::try_from(connected).unwrap());
        assert!(sock.0 >= 0, "errno {}", -sock.0);
        (sock, listener.accept().unwrap().0)
    }

    fn close(&mut self, sock: Sock) {
        self.ring.submit(token(1), Op::Close { sock });
        assert_eq!(self.completed().result, 0);
    }
}

/// Number of sockets of this process that are being connected to an address. Nothing else in this process
/// uses it.
fn sockets_to(address: SocketAddr) -> usize {
    use std::os::unix::fs::MetadataExt;
    let IpAddr::V4(ip) = address.ip() else { panic!("an IPv4 address") };
    let peer = format!("{:08X}:{:04X}", u32::from_le_bytes(ip.octets()), address.port());
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let mine: Vec<u64> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| Some(std::fs::metadata(fd.ok()?.path()).ok()?.ino()))
        .collect();
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    sockets.filter(|fields| fields[2] == peer && mine.contains(&fields[9].parse().unwrap())).count()
}

/// A listener that answers no further connection: its queue is full.
fn full_listener() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(client);
        assert!(waiting.len() < 100, "the queue has no end");
    }
    (listener, address, waiting)
}

#[test]
fn socket_of_a_client_sends_without_delay_and_is_closed_on_exec() {
    let socket = client_socket(&SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();
    assert!(nix::sys::socket::getsockopt(&socket, TcpNoDelay).unwrap());
    let flags = nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, libc::FD_CLOEXEC);
}

#[test]
fn opened_connection_transfers_bytes_until_it_is_closed() {
    let mut bench = bench(1, 96);
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(host) else {
            assert_ne!(host, "127.0.0.1:0", "a machine may have no IPv6");
            continue;
        };
        let (sock, mut other) = bench.connected(&listener);
        other.write_all(b"hello").unwrap();
        bench.ring.submit(token(2), Op::RecvAny { sock });
        assert_eq!(bench.completed().result, 5);
        bench.close(sock);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn name_of_a_peer_is_its_address() {
    let mut bench = bench(1, 96);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sock, _other) = bench.connected(&listener);
    bench.ring.submit(token(1), Op::PeerName { sock });
    let Completion { result, returned, .. } = bench.completed();
    let Returned::Text(name) = returned else { panic!("no name: {returned:?}") };
    assert_eq!((result, &*name), (0, &*listener.local_addr().unwrap().to_string()));
    bench.close(sock);
}

#[test]
fn refused_connection_leaves_no_socket_open() {
    let mut bench = bench(1, 96);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(bench.connect(address), -i64::from(libc::ECONNREFUSED));
    assert_eq!((sockets_to(address), bench.ring.in_flight()), (0, 0));
    let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
    let result = bench.connect(broadcast);
    assert!([libc::EACCES, libc::ENETUNREACH].map(|errno| -i64::from(errno)).contains(&result));
}

#[test]
fn cancelled_connection_leaves_no_socket_open() {
    let mut bench = bench(1, 96);
    let (_listener, address, waiting) = full_listener();
    let others = sockets_to(address);
    bench.ring.submit(token(1), Op::Connect { address });
    let (soon, mut completed) = (bench.ring.now() + 50_000_000, Vec::new());
    bench.ring.reap(soon, &mut completed);
    assert_eq!((completed.len(), sockets_to(address)), (0, others + 1), "it waits");
    bench.ring.cancel(token(1));
    assert_eq!(bench.completed().result, -i64::from(libc::ECANCELED));
    assert_eq!((sockets_to(address), bench.ring.in_flight()), (others, 0));
    drop(waiting);
}

#[test]
fn connection_that_is_being_opened_when_the_ring_ends_leaves_no_socket_open() {
    let mut bench = bench(1, 96);
    let (_listener, address, waiting) = full_listener();
    let others = sockets_to(address);
    bench.ring.submit(token(1), Op::Connect { address });
    bench.ring.enter(0);
    assert_eq!(sockets_to(address), others + 1);
    drop(bench);
    assert_eq!(sockets_to(address), others);
    drop(waiting);
}

#[test]
fn lent_bytes_are_sent_while_their_buffer_is_written_to_a_file() {
    let mut bench = bench_with(1, 96, 16 << 20);
    let len = 4 << 20;
    let mut buf = bench.pool.alloc(len).unwrap();
    for (bytes, n) in buf.chunks_mut(1000).zip(1_u32..) {
        bytes.fill(n.to_le_bytes()[0]);
    }
    let expected = buf.to_vec();
    let lent = buf.lend(4096..len);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sock, mut other) = bench.connected(&listener);
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        received
    });
    bench.ring.submit(token(3), Op::OpenDir { path: bench.dir.path().to_owned() });
    let dir = DirId(u32::try_from(bench.completed().result).unwrap());
    bench.ring.submit(token(3), Op::Create { dir, name: c"copy".to_owned() });
    let file = FileId(u32::try_from(bench.completed().result).unwrap());
    let len = u32::try_from(len).unwrap();
    let pieces = vec![Piece { buf: 0, start: 0, len }];
    let write = Op::Write { file, bufs: vec![buf], pieces, offset: 0, durable: true };
    bench.ring.submit(token(4), write);
    let (mut at, mut next) = (0, Some(lent));
    let (mut written, end) = (None, len - 4096);
    while at < end || written.is_none() {
        if let Some(lent) = next.take_if(|_| at < end) {
            let len = (end - at).min(1 << 20);
            let more = at + len < end;
            bench.ring.submit(token(5), Op::SendLent { sock, lent, start: at, len, more });
        }
        for Completion { result, returned, .. } in reap(&mut bench.ring) {
            let done = u32::try_from(result).unwrap();
            match returned {
                Returned::Lent(lent) => {
                    at += done;
                    next = Some(lent);
                }
                Returned::Many(bufs) => written = Some((done, bufs)),
                other => panic!("neither send nor write: {other:?}"),
            }
        }
    }
    bench.close(sock);
    assert!(reader.join().unwrap() == expected[4096..]);
    let (done, bufs) = written.unwrap();
    assert_eq!(done, len);
    assert!(std::fs::read(bench.dir.path().join("copy")).unwrap() == expected);
    let used = bench.pool.used();
    drop(bufs);
    assert_eq!(bench.pool.used(), used);
    drop(next);
    assert_eq!(bench.pool.used(), used - len as usize);
}

#[test]
fn send_that_fails_returns_the_lent_bytes() {
    let mut bench = bench(1, 96);
    let lent = bench.pool.alloc(1).unwrap().lend(0..10);
    let send = |lent, len| Op::SendLent { sock: Sock(-1), lent, start: 2, len, more: false };
    bench.ring.submit(token(1), send(lent.clone(), 8));
    let Completion { result, returned, .. } = bench.completed();
    assert_eq!(result, -i64::from(libc::EBADF));
    let Returned::Lent(lent) = returned else { panic!("the handle comes back") };
    let ring = &mut bench.ring;
    let beyond = AssertUnwindSafe(|| ring.submit(token(1), send(lent, 9)));
    assert!(catch_unwind(beyond).is_err(), "more than what is lent");
}

#[test]
fn kernel_writes_to_no_buffer_of_which_a_part_is_lent() {
    let mut bench = bench(1, 96);
    let (pool, file, sock) = (bench.pool.clone(), bench.file, Sock(-1));
    for is_read in [true, false] {
        let mut buf = pool.alloc(1).unwrap();
        let _lent = buf.lend(0..10);
        let (start, len) = (512, 512);
        let op = match is_read {
            true => Op::Read { file, buf, start, len, offset: 0 },
            false => Op::Recv { sock, buf, start, len, whole: false },
        };
        let ring = &mut bench.ring;
        assert!(catch_unwind(AssertUnwindSafe(|| ring.submit(token(1), op))).is_err());
    }
}
