//! A client of a simulated node: sends a request and takes the response.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::runtime::Handle;
use hayloft::runtime::op::{Op, Returned, Sock};

/// Client end of a connection.
#[derive(Clone)]
pub struct Client {
    sock: Sock,
    handle: Handle,
    state: Rc<RefCell<Received>>,
}

/// What a client has received.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl Client {
    pub fn new(sock: Sock, handle: Handle) -> Self {
        Self { sock, handle, state: Rc::default() }
    }

    /// Sends a request, receives until the connection ends, and closes it.
    pub async fn ask(&self, request: &[u8]) {
        if self.send(request).await {
            while self.take().await {}
        }
        self.handle.submit(Op::Close { sock: self.sock }).await;
        self.state.borrow_mut().has_ended = true;
    }

    async fn send(&self, bytes: &[u8]) -> bool {
        let mut start = 0;
        while start < bytes.len() {
            let piece = (bytes.len() - start).min(64 << 10);
            let mut buf = self.handle.pool().alloc(piece).expect("the pool is large enough");
            buf[..piece].copy_from_slice(&bytes[start..start + piece]);
            let len = u32::try_from(piece).unwrap();
            let op = Op::Send { sock: self.sock, buf, start: 0, len };
            match usize::try_from(self.handle.submit(op).await.result) {
                Ok(sent) => start += sent,
                Err(_) => return false,
            }
        }
        true
    }

    async fn take(&self) -> bool {
        let len = 64 << 10;
        let buf = self.handle.pool().alloc(len as usize).expect("the pool is large enough");
        let op = Op::Recv { sock: self.sock, buf, start: 0, len, whole: false };
        let completion = self.handle.submit(op).await;
        let Returned::One(buf) = completion.returned else { panic!("the buffer comes back") };
        match usize::try_from(completion.result) {
            Ok(got) if got > 0 => {
                self.state.borrow_mut().bytes.extend_from_slice(&buf[..got]);
                true
            }
            _ => false,
        }
    }

    /// Whether the exchange has ended.
    pub fn has_ended(&self) -> bool {
        self.state.borrow().has_ended
    }

    /// Status and body of the response, if it is complete.
    pub fn reply(&self) -> Option<(u16, Vec<u8>)> {
        let bytes = &self.state.borrow().bytes;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let status = head[9..12].parse().unwrap();
        let len = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
        let len: usize = len.map_or(0, |len| len.parse().unwrap());
        let body = &bytes[end..];
        (body.len() == len).then(|| (status, body.to_vec()))
    }
}
