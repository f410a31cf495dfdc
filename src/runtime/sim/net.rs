//! Connections of the simulated world: two byte streams each, which arrive in segments of varying length.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use nix::libc;

/// Maximum number of unread bytes in one direction.
const WINDOW: usize = 64 * 1024;
/// Number of bytes of an end that are transferred in segments of the requested size. Later bytes are not
/// divided: a large body in single bytes would test nothing that a small one does not.
const IN_SEGMENTS: usize = 6 * 1024;

/// One end of a connection.
#[derive(Default)]
struct End {
    peer: i32,
    /// Listener whose addresses decide whether bytes are moved; `None` once the connection was reset.
    listener: Option<i32>,
    /// Bytes that have arrived and were not read.
    inbox: VecDeque<u8>,
    /// Whether the peer has ended its stream.
    ended: bool,
    /// Whether the connection was reset.
    is_reset: bool,
    /// Maximum length of a segment in either direction (bytes).
    segment: usize,
    /// Number of bytes that were divided into segments.
    segmented: usize,
}

impl End {
    /// Returns how many of `wanted` bytes are transferred at once.
    fn in_one_go(&mut self, wanted: usize) -> usize {
        if self.segmented >= IN_SEGMENTS {
            return wanted;
        }
        let len = wanted.min(self.segment);
        self.segmented += len;
        len
    }
}

/// Result of an attempt at an operation: the result of the operation, or `None` if it has to wait.
pub type Attempt = Option<i64>;

/// What a connection to an address finds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A listener.
    Listener(i32),
    /// A machine on which nothing listens at the address.
    Refused,
    /// No machine that answers.
    Nothing,
}

/// All listeners and connections.
#[derive(Default)]
pub struct Net {
    /// Listeners by address.
    addresses: BTreeMap<SocketAddr, i32>,
    /// Addresses to and from which nothing is moved.
    unreachable: BTreeSet<SocketAddr>,
    ends: BTreeMap<i32, End>,
    backlog: BTreeMap<i32, VecDeque<i32>>,
    /// Accepted ends that are not closed.
    accepted: BTreeSet<i32>,
    next: i32,
}

/// First number of a connection; listeners have lower numbers.
const FIRST: i32 = 1000;

impl Net {
    /// Connects to a listener and returns the client's end.
    pub fn connect(&mut self, listener: i32, segment: usize) -> i32 {
        let client = FIRST + self.next;
        let server = client + 1;
        self.next += 2;
        let segment = segment.max(1);
        for (end, peer) in [(client, server), (server, client)] {
            let listener = Some(listener);
            self.ends.insert(end, End { peer, listener, segment, ..End::default() });
        }
        self.backlog.entry(listener).or_default().push_back(server);
        client
    }

    /// Gives a listener an address.
    pub fn listen_at(&mut self, address: SocketAddr, listener: i32) {
        self.addresses.insert(address, listener);
    }

    /// Sets whether an address is reachable.
    pub fn set_reachable(&mut self, address: SocketAddr, is_reachable: bool) {
        match is_reachable {
            true => self.unreachable.remove(&address),
            false => self.unreachable.insert(address),
        };
    }

    /// Returns what a connection to an address finds there.
    pub fn find(&self, address: SocketAddr) -> Reached {
        match self.addresses.get(&address) {
            _ if self.unreachable.contains(&address) => Reached::Nothing,
            Some(&listener) => Reached::Listener(listener),
            None => Reached::Refused,
        }
    }

    /// Whether the bytes and the end of the stream stay where they are, on the way to and from an end.
    fn is_stalled(&self, end: &End) -> bool {
        let mut unreachable = self.unreachable.iter();
        end.listener
            .is_some_and(|own| unreachable.any(|address| self.addresses.get(address) == Some(&own)))
    }

    /// Returns the other end of a connection.
    pub fn peer(&self, end: i32) -> Option<i32> {
        self.ends.get(&end).map(|end| end.peer)
    }

    /// Accepts the next connection of a listener's backlog.
    pub fn accept(&mut self, listener: i32) -> Attempt {
        let accepted = self.backlog.get_mut(&listener)?.pop_front()?;
        self.accepted.insert(accepted);
        Some(i64::from(accepted))
    }

    /// Accepted ends that are not closed.
    pub fn accepted_ends(&self) -> impl Iterator<Item = i32> {
        self.accepted.iter().copied()
    }

    /// Number of accepted ends that are not closed.
    pub fn accepted(&self) -> usize {
        self.accepted.len()
    }

    /// Moves arrived bytes to `room`, at most `most` bytes and at most a segment.
    pub fn receive(&mut self, end: i32, room: &mut [u8], most: usize) -> Attempt {
        let Some(found) = self.ends.get(&end) else { return Some(-i64::from(libc::EBADF)) };
        if self.is_stalled(found) {
            return None;
        }
        let end = self.ends.get_mut(&end)?;
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

    /// Sends as many of `bytes` as the window has room for, at most `most` bytes and at most a segment.
    pub fn send(&mut self, end: i32, bytes: &[u8], most: usize) -> Attempt {
        let Some(from) = self.ends.get(&end) else { return Some(-i64::from(libc::EBADF)) };
        if self.is_stalled(from) {
            return None;
        }
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

    /// Closes an end, or a listener, which loses its addresses. The connection is reset if unread bytes have
    /// arrived there (RFC 9293, section 3.10.4).
    pub fn close(&mut self, end: i32) {
        self.addresses.retain(|_, listener| *listener != end);
        let Some(closed) = self.ends.remove(&end) else { return };
        self.accepted.remove(&end);
        if let Some(peer) = self.ends.get_mut(&closed.peer) {
            peer.ended = true;
            peer.is_reset |= !closed.inbox.is_empty();
        }
    }

    /// Resets a connection at both ends, also if it is stalled.
    pub fn reset(&mut self, end: i32) {
        for end in [Some(end), self.peer(end)].into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(&end) {
                end.is_reset = true;
                end.listener = None;
                end.inbox.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_in_segments_before_the_end() {
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
    fn full_window_blocks_the_sender() {
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
    fn closing_with_unread_data_resets_the_connection() {
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
