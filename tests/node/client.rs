//! A client of the simulated node: one connection at a time, random requests, every answer noted.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::op::{Op, Returned, Sock};
use hayloft::runtime::{Handle, split_mix};
use hayloft::sim::World;
use hayloft::sim::history::{Action, Answer, Event};

use super::{Plan, Seen, listener};

const COOKIE: &str = "0123456789abcdef";
/// Bytes that a client receives at a time.
const PIECE: usize = 64 << 10;

/// An answer that came in full.
struct Reply {
    status: u16,
    body: Vec<u8>,
    closes: bool,
}

pub struct Client {
    world: World,
    handle: Handle,
    plan: Plan,
    seed: u64,
    seen: Rc<RefCell<Seen>>,
    connection: Option<Sock>,
}

/// The bytes of a value: its number, then what follows from it.
fn value_bytes(value: u64, len: usize) -> Vec<u8> {
    let mut state = value ^ ((len as u64) << 40);
    let len = len.max(16);
    let mut bytes = vec![0; len.next_multiple_of(8)];
    let (head, rest) = bytes.split_at_mut(16);
    head[..8].copy_from_slice(&value.to_le_bytes());
    head[8..].copy_from_slice(&(len as u64).to_le_bytes());
    for eight in rest.chunks_exact_mut(8) {
        eight.copy_from_slice(&split_mix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Which value these bytes are.
fn value_of(bytes: &[u8]) -> u64 {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (value, len) = (number(0), usize::try_from(number(8)).unwrap());
    assert_eq!(bytes, value_bytes(value, len), "bytes that nobody stored");
    value
}

impl Client {
    pub fn new(
        world: World,
        handle: Handle,
        plan: Plan,
        seed: u64,
        seen: Rc<RefCell<Seen>>,
    ) -> Self {
        Self { world, handle, plan, seed, seen, connection: None }
    }

    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    /// Does so many random requests.
    pub async fn work(mut self, operations: u64) {
        for _ in 0..operations {
            let pause = self.draw(20_000_000);
            self.handle.sleep_until(self.handle.now() + pause).await;
            let volume = 1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap();
            let key = self.draw(self.plan.keys);
            let kind = self.draw(10);
            let value = {
                let mut seen = self.seen.borrow_mut();
                seen.next_value += 1;
                seen.next_value
            };
            let action = match kind {
                0..=2 => Action::Put(value),
                3 => Action::PutNew(value),
                4 => Action::Delete,
                _ => Action::Get,
            };
            self.perform(volume, key, action).await;
        }
    }

    /// Reads every object.
    pub async fn read_all(mut self) {
        for volume in 1..=self.plan.volumes {
            for key in 0..self.plan.keys {
                self.perform(volume, key, Action::Get).await;
            }
        }
    }

    fn len(&mut self) -> usize {
        let len = match self.draw(40) {
            0 => (1 << 20) + self.draw(200_000),
            1..=4 => self.draw(100_000),
            _ => self.draw(3000),
        };
        usize::try_from(len).unwrap()
    }

    fn request(&mut self, volume: u32, key: u64, action: Action) -> Vec<u8> {
        let target = format!("/{volume}/{key}/0/{COOKIE}");
        let condition = match action {
            Action::PutNew(_) => "If-None-Match: *\r\n",
            _ => "",
        };
        match action {
            Action::Put(value) | Action::PutNew(value) => {
                let len = self.len();
                self.seen.borrow_mut().large += u64::from(len > 1 << 20);
                let body = value_bytes(value, len);
                let len = body.len();
                let head = format!(
                    "PUT {target} HTTP/1.1\r\nHost: a\r\n{condition}Content-Length: {len}\r\n\r\n"
                );
                [head.into_bytes(), body].concat()
            }
            Action::Delete => format!("DELETE {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            Action::Get => format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        }
    }

    async fn perform(&mut self, volume: u32, key: u64, action: Action) {
        let request = self.request(volume, key, action);
        let called = self.handle.now();
        let unknown = Event { called, answered: u64::MAX, action, answer: Answer::Unknown };
        // Noted before it is sent: the power may be cut before there is an answer.
        let at = (action != Action::Get).then(|| self.note(volume, key, unknown));
        let reply = self.exchange(&request).await;
        let answer = match &reply {
            Some(reply) => self.answer(action, reply),
            None => {
                self.seen.borrow_mut().broken += 1;
                Answer::Unknown
            }
        };
        if reply.is_none_or(|reply| reply.closes) {
            self.hang_up();
        }
        if answer == Answer::Unknown {
            return;
        }
        let answered = self.handle.now();
        let event = Event { called, answered, action, answer };
        self.seen.borrow_mut().answered += 1;
        match at {
            Some(at) => self.seen.borrow_mut().objects.get_mut(&(volume, key)).unwrap()[at] = event,
            None => drop(self.note(volume, key, event)),
        }
    }

    fn note(&self, volume: u32, key: u64, event: Event) -> usize {
        let mut seen = self.seen.borrow_mut();
        let events = seen.objects.entry((volume, key)).or_default();
        events.push(event);
        events.len() - 1
    }

    fn answer(&self, action: Action, reply: &Reply) -> Answer {
        let mut seen = self.seen.borrow_mut();
        match (action, reply.status) {
            (Action::Put(_) | Action::PutNew(_), 201) => Answer::Created,
            (Action::Put(_) | Action::PutNew(_), 204) => Answer::Replaced,
            (Action::PutNew(_), 412) => Answer::Exists,
            (Action::Delete, 204) => Answer::Deleted,
            (Action::Delete | Action::Get, 404) => Answer::Missing,
            (Action::Get, 200) => Answer::Value(value_of(&reply.body)),
            (Action::Get, 500) => {
                seen.unreadable += 1;
                Answer::Unknown
            }
            (_, 500) => Answer::Unknown,
            (_, 503 | 507) => {
                seen.refused += 1;
                Answer::Refused
            }
            (_, status) => panic!("{action:?} was answered with {status}"),
        }
    }

    fn hang_up(&mut self) {
        if let Some(sock) = self.connection.take() {
            drop(self.handle.submit(Op::Close { sock }));
        }
    }

    /// Sends a request and receives its answer; nothing when the connection broke.
    async fn exchange(&mut self, request: &[u8]) -> Option<Reply> {
        let sock = match self.connection {
            Some(sock) => sock,
            None => {
                let shard = usize::try_from(self.draw(self.plan.shards as u64)).unwrap();
                let segment = match self.draw(6) {
                    0 => 1 + self.draw(5),
                    1 => 1460,
                    _ => 64 << 10,
                };
                let segment = usize::try_from(segment).unwrap();
                self.world.connect(listener(shard), segment)
            }
        };
        self.connection = Some(sock);
        // Now and then a client gives up in the middle, or dawdles.
        let mischief = if self.plan.faults { self.draw(30) } else { u64::MAX };
        let stop = match mischief {
            0 | 1 => usize::try_from(self.draw(request.len() as u64)).unwrap(),
            _ => request.len(),
        };
        let is_sent = self.send(sock, &request[..stop]).await;
        match mischief {
            0 => {
                self.world.reset(sock);
                return None;
            }
            1 if is_sent => {
                self.handle.sleep_until(self.handle.now() + 1_000_000_000).await;
                self.send(sock, &request[stop..]).await;
            }
            2 => {
                self.world.reset(sock);
            }
            _ => {}
        }
        // Also when not all of it was taken: the answer may have come early.
        self.receive(sock).await
    }

    async fn send(&self, sock: Sock, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = rest.len().min(PIECE);
            let Some(mut buf) = self.handle.pool().alloc(PIECE) else { return false };
            buf[..len].copy_from_slice(&rest[..len]);
            let len = u32::try_from(len).unwrap();
            let sent = self.handle.submit(Op::Send { sock, buf, start: 0, len }).await.result;
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => rest = &rest[sent..],
                _ => return false,
            }
        }
        true
    }

    async fn receive(&self, sock: Sock) -> Option<Reply> {
        let mut bytes = Vec::new();
        let mut head: Option<Head> = None;
        loop {
            let buf = self.handle.pool().alloc(PIECE)?;
            let len = u32::try_from(PIECE).unwrap();
            let op = Op::Recv { sock, buf, start: 0, len, whole: false };
            let completion = self.handle.submit(op).await;
            let got = usize::try_from(completion.result).ok().filter(|got| *got > 0)?;
            let Returned::One(buf) = completion.returned else { panic!("the buffer comes back") };
            let scanned = bytes.len().saturating_sub(3);
            bytes.extend_from_slice(&buf[..got]);
            if head.is_none() {
                head = parse(&bytes, scanned);
            }
            if let Some(Head { status, end, len, closes }) = head
                && bytes.len() >= end + len
            {
                assert_eq!(bytes.len(), end + len, "more was sent than was promised");
                return Some(Reply { status, body: bytes.split_off(end), closes });
            }
        }
    }
}

/// The head of an answer.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    /// Bytes of the body.
    len: usize,
    closes: bool,
}

/// The head, once it is there in full. Its end is looked for from `scanned` on.
fn parse(bytes: &[u8], scanned: usize) -> Option<Head> {
    let end = scanned + bytes[scanned..].windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status: u16 = head[9..12].parse().unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let len = field("Content-Length: ").map_or(0, |len| len.parse().unwrap());
    let len = if matches!(status, 204 | 304) { 0 } else { len };
    Some(Head { status, end, len, closes: field("Connection: ") == Some("close") })
}
