//! Connections of the simulated world: two streams of bytes each, that arrive in any pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nix::libc;

/// Bytes on their way in one direction at most.
const WINDOW: usize = 64 * 1024;
/// So many bytes of a connection go in segments as small as was asked for; a large body in single bytes
/// would show nothing that a small one does not.
const IN_SEGMENTS: usize = 6 * 1024;

/// One end of a connection.
#[derive(Default)]
struct End {
    peer: i32,
    /// What has arrived and was not read.
    inbox: VecDeque<u8>,
    /// Nothing more will come.
    ended: bool,
    /// It broke.
    is_reset: bool,
    /// Bytes that arrive in one go at most, in either direction.
    segment: usize,
    /// Bytes that went so.
    segmented: usize,
}

impl End {
    /// How much of `wanted` bytes goes in one go.
    fn in_one_go(&mut self, wanted: usize) -> usize {
        if self.segmented >= IN_SEGMENTS {
            return wanted;
        }
        let len = wanted.min(self.segment);
        self.segmented += len;
        len
    }
}

/// What an attempt at an operation came to: a result like that of the operation, or nothing yet.
pub type Attempt = Option<i64>;

/// All listeners and connections.
#[derive(Default)]
pub struct Net {
    ends: BTreeMap<i32, End>,
    backlog: BTreeMap<i32, VecDeque<i32>>,
    /// Ends that listeners gave out.
    accepted: BTreeSet<i32>,
    next: i32,
}

/// Connections are numbered from here on, listeners below.
const FIRST: i32 = 1000;

impl Net {
    /// Makes a connection to a listener; gives the client's end.
    pub fn connect(&mut self, listener: i32, segment: usize) -> i32 {
        let client = FIRST + self.next;
        let server = client + 1;
        self.next += 2;
        let segment = segment.max(1);
        self.ends.insert(client, End { peer: server, segment, ..End::default() });
        self.ends.insert(server, End { peer: client, segment, ..End::default() });
        self.backlog.entry(listener).or_default().push_back(server);
        client
    }

    /// The other end.
    pub fn peer(&self, end: i32) -> Option<i32> {
        self.ends.get(&end).map(|end| end.peer)
    }

    /// The next connection that a listener has.
    pub fn accept(&mut self, listener: i32) -> Attempt {
        let accepted = self.backlog.get_mut(&listener)?.pop_front()?;
        self.accepted.insert(accepted);
        Some(i64::from(accepted))
    }

    /// Ends that listeners gave out and that are not closed.
    pub fn accepted(&self) -> usize {
        self.accepted.len()
    }

    /// Moves what has arrived to `room`, at most `most` bytes and a segment.
    pub fn receive(&mut self, end: i32, room: &mut [u8], most: usize) -> Attempt {
        let Some(end) = self.ends.get_mut(&end) else { return Some(-i64::from(libc::EBADF)) };
        let len = end.in_one_go(end.inbox.len().min(room.len()).min(most.max(1)));
        if len > 0 {
            let (first, second) = end.inbox.as_slices();
            let split = first.len().min(len);
            room[..split].copy_from_slice(&first[..split]);
            room[split..len].copy_from_slice(&second[..len - split]);
            end.inbox.drain(..len);
            return Some(i64::try_from(len).expect("a window"));
        }
        if end.is_reset {
            return Some(-i64::from(libc::ECONNRESET));
        }
        end.ended.then_some(0)
    }

    /// Sends of `bytes` what there is room for, at most `most` bytes and a segment.
    pub fn send(&mut self, end: i32, bytes: &[u8], most: usize) -> Attempt {
        let Some(from) = self.ends.get(&end) else { return Some(-i64::from(libc::EBADF)) };
        if from.is_reset {
            return Some(-i64::from(libc::ECONNRESET));
        }
        let peer = from.peer;
        let Some(to) = self.ends.get(&peer) else { return Some(-i64::from(libc::EPIPE)) };
        let wanted = bytes.len().min(WINDOW - to.inbox.len()).min(most.max(1));
        let len = self.ends.get_mut(&end).map_or(0, |from| from.in_one_go(wanted));
        if len == 0 {
            return None;
        }
        if let Some(to) = self.ends.get_mut(&peer) {
            to.inbox.extend(&bytes[..len]);
        }
        Some(i64::try_from(len).expect("a window"))
    }

    /// Ends the stream to the peer.
    pub fn shutdown(&mut self, end: i32) {
        let peer = self.peer(end);
        if let Some(peer) = peer.and_then(|peer| self.ends.get_mut(&peer)) {
            peer.ended = true;
        }
    }

    /// Closes an end; the connection breaks when something has arrived there that was not read
    /// (RFC 9293, section 3.10.4).
    pub fn close(&mut self, end: i32) {
        let Some(closed) = self.ends.remove(&end) else { return };
        self.accepted.remove(&end);
        if let Some(peer) = self.ends.get_mut(&closed.peer) {
            peer.ended = true;
            peer.is_reset |= !closed.inbox.is_empty();
        }
    }

    /// Breaks a connection, seen from both ends.
    pub fn reset(&mut self, end: i32) {
        for end in [Some(end), self.peer(end)].into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(&end) {
                end.is_reset = true;
                end.inbox.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_in_segments_and_then_the_end() {
        let mut net = Net::default();
        assert_eq!(net.accept(3), None);
        let client = net.connect(3, 4);
        let server = i32::try_from(net.accept(3).unwrap()).unwrap();
        let mut room = [0; 16];
        assert_eq!(net.receive(server, &mut room, 16), None);
        assert_eq!(net.send(client, b"hello", 16), Some(4));
        assert_eq!(net.send(client, b"o", 16), Some(1));
        net.shutdown(client);
        assert_eq!(net.receive(server, &mut room, 3), Some(3));
        assert_eq!(net.receive(server, &mut room[3..], 16), Some(2));
        assert_eq!(&room[..5], b"hello");
        assert_eq!(net.receive(server, &mut room, 16), Some(0));
        assert_eq!(net.send(server, b"x", 16), Some(1), "the other direction is open");
    }

    #[test]
    fn a_full_window_holds_the_sender_up() {
        let mut net = Net::default();
        let client = net.connect(3, usize::MAX);
        let server = i32::try_from(net.accept(3).unwrap()).unwrap();
        let bytes = vec![7; WINDOW + 1];
        assert_eq!(net.send(client, &bytes, usize::MAX), Some(65_536));
        assert_eq!(net.send(client, &bytes, usize::MAX), None);
        assert_eq!(net.receive(server, &mut [0; 10], 10), Some(10));
        assert_eq!(net.send(client, &bytes, usize::MAX), Some(10));
    }

    #[test]
    fn closing_with_something_unread_breaks_the_connection() {
        let mut net = Net::default();
        let client = net.connect(3, 100);
        let server = i32::try_from(net.accept(3).unwrap()).unwrap();
        net.send(client, b"unread", 100);
        net.close(server);
        assert_eq!(net.receive(client, &mut [0; 4], 4), Some(-i64::from(libc::ECONNRESET)));
        assert_eq!(net.send(client, b"x", 1), Some(-i64::from(libc::ECONNRESET)));
        let client = net.connect(3, 100);
        let server = i32::try_from(net.accept(3).unwrap()).unwrap();
        net.close(server);
        assert_eq!(net.receive(client, &mut [0; 4], 4), Some(0));
        assert_eq!(net.send(client, b"x", 1), Some(-i64::from(libc::EPIPE)));
    }
}
