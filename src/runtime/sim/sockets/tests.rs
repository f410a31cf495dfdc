use std::net::SocketAddr;

use nix::libc;

use crate::runtime::buffer::{Lent, Pool, Region};
use crate::runtime::op::{Completion, Driver, Op, Returned, Sock, Token};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{SimDriver, World};

const MS: u64 = 1_000_000;
const LISTENER: Sock = Sock(3);

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 8080))
}

struct Bench {
    world: World,
    pool: Pool,
    driver: SimDriver,
    submitted: u32,
}

impl Bench {
    fn new() -> Self {
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let world = World::new(1, &Image::default());
        let driver = world.member(0, &pool);
        Self { world, pool, driver, submitted: 0 }
    }

    /// A world with a connection to a listener that has an address. Returns both ends, the client's first.
    fn connected() -> (Self, Sock, Sock) {
        let mut bench = Self::new();
        bench.world.listen_at(address(), LISTENER);
        let client =
            Sock(i32::try_from(bench.run(Op::Connect { address: address() }).result).unwrap());
        assert_eq!(bench.world.accepted(), 0);
        let server =
            Sock(i32::try_from(bench.run(Op::Accept { listener: LISTENER }).result).unwrap());
        assert_eq!(bench.world.accepted(), 1, "ends that were accepted");
        (bench, client, server)
    }

    fn submit(&mut self, op: Op) -> Token {
        self.submitted += 1;
        let token = Token { index: self.submitted, generation: 0 };
        self.driver.submit(token, op);
        token
    }

    /// Lets at most `ns` pass, until an operation completes.
    fn wait(&mut self, ns: u64) -> Option<Completion> {
        let (until, mut completed) = (self.world.now() + ns, Vec::new());
        while completed.is_empty() {
            assert_eq!(self.world.next(&[until]), Some(0));
            self.driver.reap(0, &mut completed);
            if self.world.now() >= until && completed.is_empty() {
                return None;
            }
        }
        completed.pop()
    }

    /// Carries the only operation out.
    fn run(&mut self, op: Op) -> Completion {
        let token = self.submit(op);
        let completion = self.wait(1000 * MS).expect("it ends");
        assert_eq!(completion.token, token);
        completion
    }

    /// What is lent of a new buffer with these bytes.
    fn lent(&self, bytes: &[u8]) -> Lent {
        let mut buf = self.pool.alloc(bytes.len()).unwrap();
        buf[..bytes.len()].copy_from_slice(bytes);
        buf.lend(0..bytes.len())
    }

    fn send(&self, sock: Sock, bytes: &[u8]) -> Op {
        let len = u32::try_from(bytes.len()).unwrap();
        Op::SendLent { sock, lent: self.lent(bytes), start: 0, len, more: true }
    }

    fn recv(&self, sock: Sock, len: u32) -> Op {
        Op::Recv { sock, buf: self.pool.alloc(1).unwrap(), start: 0, len, whole: true }
    }

    /// Takes the bytes of a receive.
    fn received(completion: Completion) -> Vec<u8> {
        let Returned::One(buf) = completion.returned else { panic!("the buffer comes back") };
        buf[..usize::try_from(completion.result).unwrap()].to_vec()
    }
}

#[test]
fn connection_to_an_address_reaches_its_listener() {
    let (mut bench, client, server) = Bench::connected();
    for (from, to) in [(client, server), (server, client)] {
        let lent = bench.lent(b"photograph");
        let mut at = 5;
        while at < 10 {
            let lent = lent.clone();
            let op = Op::SendLent { sock: from, lent, start: at, len: 10 - at, more: false };
            let completion = bench.run(op);
            at += u32::try_from(completion.result).unwrap();
            let Returned::Lent(back) = completion.returned else { panic!("the handle comes back") };
            assert_eq!(&back[..], b"photograph");
        }
        let receive = bench.recv(to, 5);
        assert_eq!(Bench::received(bench.run(receive)), b"graph");
    }
    drop(bench.run(Op::Close { sock: client }));
    assert_eq!(bench.run(Op::RecvAny { sock: server }).result, 0);
    drop(bench.run(Op::Close { sock: server }));
    assert_eq!((bench.world.accepted(), bench.pool.used()), (0, 0));
}

#[test]
fn connection_to_an_address_without_a_listener_is_refused() {
    let refused = -i64::from(libc::ECONNREFUSED);
    let mut bench = Bench::new();
    let began = bench.world.now();
    assert_eq!(bench.run(Op::Connect { address: address() }).result, refused);
    assert!((1..MS).contains(&(bench.world.now() - began)), "after a short time");
    bench.world.listen_at(address(), LISTENER);
    assert!(bench.run(Op::Connect { address: address() }).result > 0);
    drop(bench.run(Op::Close { sock: LISTENER }));
    assert_eq!(bench.run(Op::Connect { address: address() }).result, refused);
    bench.world.listen_at(address(), Sock(4));
    assert!(bench.run(Op::Connect { address: address() }).result > 0, "another listener");
}

#[test]
fn connection_to_an_unreachable_address_waits() {
    let mut bench = Bench::new();
    bench.world.set_reachable(address(), false);
    let token = bench.submit(Op::Connect { address: address() });
    assert!(bench.wait(1000 * MS).is_none());
    bench.driver.cancel(token);
    let completion = bench.wait(MS).unwrap();
    assert_eq!((completion.token, completion.result), (token, -i64::from(libc::ECANCELED)));
    let token = bench.submit(Op::Connect { address: address() });
    bench.world.listen_at(address(), LISTENER);
    assert!(bench.wait(1000 * MS).is_none(), "also if there is a listener");
    bench.world.set_reachable(address(), true);
    let completion = bench.wait(1000 * MS).unwrap();
    assert!(completion.token == token && completion.result > 0);
    assert!(bench.run(Op::Accept { listener: LISTENER }).result > completion.result);
}

#[test]
fn connections_stall_while_the_address_is_unreachable() {
    let (mut bench, client, server) = Bench::connected();
    let send = bench.send(client, b"a");
    assert_eq!(bench.run(send).result, 1);
    bench.world.set_reachable(address(), false);
    for (from, to) in [(client, server), (server, client)] {
        let (send, receive) = (bench.send(from, b"b"), bench.recv(to, 1));
        let tokens = [bench.submit(send), bench.submit(receive)];
        assert!(bench.wait(1000 * MS).is_none(), "no bytes are moved");
        bench.world.set_reachable(address(), true);
        let done = [bench.wait(1000 * MS).unwrap(), bench.wait(1000 * MS).unwrap()];
        assert!(done.iter().all(|one| one.result == 1 && tokens.contains(&one.token)));
        bench.world.set_reachable(address(), false);
    }
    let send = bench.send(client, b"c");
    let token = bench.submit(send);
    assert!(bench.wait(1000 * MS).is_none());
    bench.driver.cancel(token);
    assert_eq!(bench.wait(MS).unwrap().result, -i64::from(libc::ECANCELED));
    // A byte is unread, of those that were sent.
    let token = bench.submit(Op::RecvAny { sock: server });
    assert!(bench.wait(1000 * MS).is_none());
    bench.driver.cancel(token);
    assert_eq!(bench.wait(MS).unwrap().result, -i64::from(libc::ECANCELED));
    drop(bench.run(Op::Close { sock: client }));
    bench.submit(Op::RecvAny { sock: server });
    assert!(bench.wait(1000 * MS).is_none(), "the end is not known yet");
    bench.world.set_reachable(address(), true);
    assert_eq!(bench.wait(1000 * MS).unwrap().result, 1);
    assert_eq!(bench.run(Op::RecvAny { sock: server }).result, 0);
}

#[test]
fn only_connections_to_the_unreachable_address_stall() {
    let (mut bench, client, server) = Bench::connected();
    let other = SocketAddr::from(([10, 0, 0, 2], 8080));
    bench.world.listen_at(other, Sock(4));
    bench.world.set_reachable(other, false);
    let send = bench.send(client, b"a");
    assert_eq!(bench.run(send).result, 1);
    assert_eq!(bench.run(Op::RecvAny { sock: server }).result, 1);
    // A client outside of the world uses the same network.
    let outside = bench.world.connect(Sock(4), 10);
    let send = bench.send(outside, b"a");
    let token = bench.submit(send);
    assert!(bench.wait(1000 * MS).is_none());
    bench.world.reset(outside);
    let completion = bench.wait(1000 * MS).unwrap();
    assert_eq!((completion.token, completion.result), (token, -i64::from(libc::ECONNRESET)));
}

#[test]
fn reset_reaches_both_ends_of_a_stalled_connection() {
    for by_client in [true, false] {
        let (mut bench, client, server) = Bench::connected();
        bench.world.set_reachable(address(), false);
        let send = bench.send(server, b"a");
        let tokens = [bench.submit(Op::RecvAny { sock: client }), bench.submit(send)];
        assert!(bench.wait(1000 * MS).is_none());
        bench.world.reset(if by_client { client } else { server });
        for _ in tokens {
            let completion = bench.wait(1000 * MS).unwrap();
            assert_eq!(completion.result, -i64::from(libc::ECONNRESET));
            assert!(tokens.contains(&completion.token));
        }
    }
}
