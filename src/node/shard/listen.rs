//! Accepts connections and distributes them over the shards.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use nix::libc;

use super::listener::Listener;
use super::message::Arrival;
use super::session;
use super::shard::Shard;
use crate::base::accept::{Next, PAUSE_NS};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::ShardId;
use crate::http::conn::{Conn, Wait};
use crate::runtime::op::{Op, Sock};

/// Minimum difference of connection counts at which a connection is handed over to another shard.
const IMBALANCE: u64 = 2;

impl Shard {
    /// Accepts connections until the shard drains.
    pub(super) async fn accept(self: Rc<Self>, listener: Listener) {
        let slot = self.waiting.borrow_mut().insert(None);
        while !self.draining() {
            let operation = self.handle.submit(Op::Accept { listener: listener.sock });
            let wait = Wait { token: operation.token(), is_fresh: false };
            self.waiting.borrow_mut()[slot] = Some(wait);
            let result = operation.await.result;
            self.waiting.borrow_mut()[slot] = None;
            match i32::try_from(result) {
                Ok(accepted) if accepted >= 0 => self.admit(Sock(accepted), listener.own),
                Ok(errno) if errno == -libc::ECANCELED => {}
                _ => {
                    let errno = i32::try_from(-result).unwrap_or(libc::EIO);
                    let now = self.handle.now();
                    if self.accept_failures.note(errno, "a connection", now) == Next::Later {
                        self.handle.sleep_until(now + PAUSE_NS).await;
                    }
                }
            }
        }
        self.waiting.borrow_mut().remove(slot);
        self.accepting.give_back(1);
    }

    fn admit(self: &Rc<Self>, sock: Sock, own: bool) {
        self.metrics().connections_accepted.inc();
        let beyond = self.shared.volumes_beyond.load(Ordering::Relaxed);
        let bound = self.config.connections_max.saturating_sub(beyond);
        let Some(slot) = self.shared.slots.take(bound) else {
            self.metrics().connections_refused.inc();
            if let Some(omitted) = self.refusal_warnings.admit(self.handle.now()) {
                tracing::warn!(
                    "{bound} connections at once, the limit: others are refused. Raise limits.connections \
                     and the limit of open files (LimitNOFILE= in the unit), or have clients close idle \
                     connections{omitted}"
                );
            }
            return self.refuse(sock);
        };
        let shards = ShardId::all(self.shared.shards());
        let target = shards.min_by_key(|&shard| self.shared.load(shard));
        let target = target.expect("there is at least one shard");
        let mine = self.shared.load(self.id);
        if !own && target != self.id && mine >= self.shared.load(target) + IMBALANCE {
            if self.may_hand_over(target) {
                return self.hand_over(target, Arrival::Fresh(sock, slot));
            }
            tracing::debug!("shard {target} is too busy to take a connection over");
        }
        self.adopt(Arrival::Fresh(sock, slot));
    }

    fn refuse(self: &Rc<Self>, sock: Sock) {
        if self.refusing.held() >= self.config.refusals_max {
            drop(self.handle.submit(Op::Close { sock }));
            return;
        }
        self.refusing.take(1);
        let shard = Rc::clone(self);
        self.handle.spawn(async move {
            session::refuse(&shard, shard.conn(sock)).await;
            shard.refusing.give_back(1);
        });
    }

    fn conn(&self, sock: Sock) -> Conn {
        Conn::new(&self.handle, sock, self.config.deadlines, &self.waiting)
            .serving(self.config.dialects)
    }

    /// Takes a connection over and serves it.
    pub(super) fn adopt(self: &Rc<Self>, arrival: Arrival) {
        let shard = Rc::clone(self);
        let (conn, request, slot) = match arrival {
            Arrival::Fresh(sock, slot) => (self.conn(sock), None, slot),
            Arrival::Moved(detached, slot) => {
                let (deadlines, waiting) = (self.config.deadlines, &self.waiting);
                let (conn, head) = Conn::attach(&self.handle, *detached, deadlines, waiting);
                (conn.serving(self.config.dialects), Some(head), slot)
            }
        };
        self.board().connections.set(self.connections.take(1));
        self.handle.spawn(async move {
            session::serve(&shard, conn, request, slot).await;
            if !chosen(Sabotage::LeakConnection) {
                shard.board().connections.set(shard.connections.give_back(1));
            }
        });
    }

    /// Cancels the waits of listeners and idle connections; those of fresh connections only if `fresh_too`.
    pub(super) fn cancel_waits(&self, fresh_too: bool) {
        for (_, wait) in &*self.waiting.borrow() {
            if let Some(Wait { token, is_fresh }) = wait
                && (fresh_too || !is_fresh)
            {
                self.handle.cancel(*token);
            }
        }
    }
}
