//! What operations on connections, on listeners and between shards do.

use nix::libc;
use xxhash_rust::xxh3::xxh3_64;

use super::flight::{Flight, PARKED};
use super::net::{Attempt, Reached};
use super::state::State;
use crate::base::limits::{HEAD_BUFFER, RECEIVE_HEADROOM};
use crate::runtime::buffer::Pool;
use crate::runtime::op::{Completion, Op, Returned};

/// Maximum length of a segment of a connection that [`Op::Connect`] opens (bytes); each connection has its
/// own.
const SEGMENT_MAX: u64 = 1460;

impl State {
    /// Attempts an operation on a connection, on a listener or between shards.
    ///
    /// # Errors
    /// Returns the flight when the operation has to wait.
    pub(super) fn communicate(
        &mut self,
        mut flight: Flight,
        pool: &Pool,
    ) -> Result<Completion, Flight> {
        let drawn = self.draw(4096) + 1;
        let most = usize::try_from(drawn * drawn).expect("16 MiB");
        let token = flight.token;
        flight.due = PARKED;
        let cancelled = flight.is_cancelled.then_some(-i64::from(libc::ECANCELED));
        let ended = |result, returned| Ok(Completion { token, result, returned });
        match &mut flight.op {
            Op::Accept { listener } => {
                let attempt = cancelled.or_else(|| self.net.accept(listener.0));
                match attempt {
                    Some(result) => ended(result, Returned::None),
                    None => Err(flight),
                }
            }
            Op::Connect { address } => {
                let address = *address;
                match self.net.find(address) {
                    _ if cancelled.is_some() => ended(-i64::from(libc::ECANCELED), Returned::None),
                    Reached::Listener(listener) => {
                        let segment = usize::try_from(self.draw(SEGMENT_MAX)).expect("small") + 1;
                        let client = self.net.connect(listener, segment);
                        self.retry_waiters(listener);
                        ended(i64::from(client), Returned::None)
                    }
                    Reached::Refused => ended(-i64::from(libc::ECONNREFUSED), Returned::None),
                    Reached::Nothing => Err(flight),
                }
            }
            Op::RecvAny { sock } => {
                let sock = sock.0;
                let Some(mut buf) = pool.alloc(HEAD_BUFFER) else {
                    flight.due = self.now + 1_000_000;
                    return Err(flight);
                };
                let room = &mut buf[RECEIVE_HEADROOM..HEAD_BUFFER];
                let attempt = self.receive(sock, room, most).or(cancelled);
                match attempt {
                    Some(len @ 1..) => ended(len, Returned::One(buf)),
                    Some(result) => ended(result, Returned::None),
                    None => Err(flight),
                }
            }
            Op::Recv { sock, buf, start, len, whole } => {
                let (sock, whole) = (sock.0, *whole);
                let room = *start as usize + flight.done..(*start + *len) as usize;
                let wanted = room.len();
                let attempt = self.receive(sock, &mut buf[room], most);
                let so_far = |result: i64, done: usize| if done > 0 { done as i64 } else { result };
                let result = match attempt {
                    Some(got @ 1..) => {
                        let got = usize::try_from(got).expect("positive");
                        flight.done += got;
                        if whole && got < wanted && cancelled.is_none() {
                            flight.due = self.now + 1_000;
                            return Err(flight);
                        }
                        i64::try_from(flight.done).expect("small")
                    }
                    Some(end) => so_far(end, flight.done),
                    None => match cancelled {
                        Some(cancelled) => so_far(cancelled, flight.done),
                        None => return Err(flight),
                    },
                };
                let Op::Recv { buf, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::One(buf))
            }
            Op::Send { sock, buf, start, len } => {
                let bytes = &buf[*start as usize..(*start + *len) as usize];
                let attempt = self.send(sock.0, bytes, most).or(cancelled);
                let Some(result) = attempt else { return Err(flight) };
                let Op::Send { buf, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::One(buf))
            }
            Op::SendLent { sock, lent, start, len, .. } => {
                let bytes = &lent[*start as usize..(*start + *len) as usize];
                let attempt = self.send(sock.0, bytes, most).or(cancelled);
                let Some(result) = attempt else { return Err(flight) };
                let Op::SendLent { lent, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::Lent(lent))
            }
            Op::PeerName { .. } => ended(0, Returned::Text("simulated".into())),
            Op::ShutdownWrite { sock } => {
                let sock = sock.0;
                self.net.shutdown(sock);
                self.retry_peer_waiters(sock);
                ended(0, Returned::None)
            }
            Op::Close { sock } => {
                let sock = sock.0;
                let peer = self.net.peer(sock);
                self.net.close(sock);
                if let Some(peer) = peer {
                    self.retry_waiters(peer);
                }
                ended(0, Returned::None)
            }
            Op::Wake { peer } => {
                self.woken.insert(*peer);
                ended(0, Returned::None)
            }
            other => unreachable!("{other:?} is a disk operation"),
        }
    }

    fn receive(&mut self, sock: i32, room: &mut [u8], most: usize) -> Attempt {
        let attempt = self.net.receive(sock, room, most);
        if attempt.is_some() {
            self.retry_peer_waiters(sock);
        }
        attempt
    }

    fn send(&mut self, sock: i32, bytes: &[u8], most: usize) -> Attempt {
        let attempt = self.net.send(sock, bytes, most);
        let sent = usize::try_from(attempt.unwrap_or(0)).unwrap_or(0);
        self.hash ^= xxh3_64(&bytes[..sent]);
        if attempt.is_some() {
            self.retry_peer_waiters(sock);
        }
        attempt
    }

    fn retry_peer_waiters(&mut self, sock: i32) {
        if let Some(peer) = self.net.peer(sock) {
            self.retry_waiters(peer);
        }
    }
}

#[cfg(test)]
mod tests;
