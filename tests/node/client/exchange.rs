//! Sends requests, and checks that refusals have a cause.

use hayloft::runtime::op::Op;
use hayloft::runtime::sim::history::Answer;

use super::request::Request;
use super::{Client, PHOTOS_MAX};
use crate::node::causes::RequestInfo;
use crate::node::listener;
use crate::node::wire::{self, Reply};

/// Upper bound of the buffers of a multi-delete: its body and its tombstones (bytes).
const DELETE_MEMORY: u64 = (2 + PHOTOS_MAX) * 4096;
/// Upper bound of the buffers for a read, or for reading the needle that a write replaces (bytes).
const READ_MEMORY: u64 = (1 << 20) + (64 << 10);

impl Client {
    /// Asserts that a 404 has a cause.
    pub(super) fn check_404(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        if reply.reason() != "no such photo" {
            self.causes.explain(asked, reply.status, reply.reason());
        }
        Answer::Missing
    }

    /// Asserts that a refusal has a cause. Returns whether the effect of the request is unknown.
    pub(super) fn check_refusal(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        let (status, mut reason) = (reply.status, reply.reason());
        if reason.starts_with("photo ")
            && reason.ends_with(" is damaged on disk; nothing was deleted")
        {
            reason = "the photo is damaged on disk";
        }
        if reason == "the photo is damaged on disk"
            && let Some(answer) = self.causes.damage_of(asked)
        {
            self.count("answers about damage");
            return answer;
        }
        self.causes.explain(asked, status, reason);
        self.count(match status {
            503 if reason.ends_with("failed too often") => "refusals by suspect volumes",
            503 => "refusals with 503",
            507 => "refusals with 507",
            500 => "failures with 500",
            _ => "other refusals",
        });
        if reason.starts_with("the write failed") { Answer::Unknown } else { Answer::Refused }
    }

    pub(super) async fn hang_up(&mut self) {
        if let Some(sock) = self.connection.take() {
            self.handle.submit(Op::Close { sock }).await;
        }
    }

    /// Sends a request and receives the answer; `None` if the connection broke.
    pub(super) async fn ask(&mut self, request: Request) -> Option<(RequestInfo, Reply)> {
        let is_head = request.head.starts_with("HEAD");
        let is_batch = request.head.contains("/batch ");
        let is_multi_delete = request.head.contains("/delete ");
        let asked = RequestInfo {
            volume: request.volume,
            name: request.name,
            needs_header_only: is_head || request.decides_by_header(),
            expires: request.expires,
            is_delete: request.head.starts_with("DELETE") || is_multi_delete,
            called: self.handle.now(),
            memory: READ_MEMORY
                + if is_multi_delete { DELETE_MEMORY } else { 2 * request.body.len() as u64 },
            was_recovering: self.causes.is_recovering(request.volume),
        };
        let len = request.body.len() as u64;
        let memory = match (is_batch, is_multi_delete) {
            (true, _) => READ_MEMORY + len / 4 * 5,
            (_, true) => READ_MEMORY + DELETE_MEMORY,
            _ => len,
        };
        let upload = self.causes.begin_upload(request.volume, request.cost, memory);
        let (reply, is_broken) = self.exchange(&request.bytes(), is_head).await;
        self.causes.end_upload(upload);
        match &reply {
            Some(_) => self.count("answers"),
            None => {
                self.count("connections broken");
                if !is_broken {
                    self.causes.explain_silence(&asked);
                }
            }
        }
        if reply.as_ref().is_none_or(|reply| reply.closes) {
            self.hang_up().await;
        }
        Some((asked, reply?))
    }

    /// Returns the answer, and whether the client reset the connection.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        is_head: bool,
    ) -> (Option<Reply>, bool) {
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
        // Some clients reset the connection in the middle of the request, or send the rest late.
        let misbehavior = if self.plan.faults { self.draw(30) } else { u64::MAX };
        let stop = match misbehavior {
            0 | 1 => usize::try_from(self.draw(request.len() as u64)).unwrap(),
            _ => request.len(),
        };
        let is_sent = wire::send(&self.handle, sock, &request[..stop]).await;
        match misbehavior {
            0 => {
                self.world.reset(sock);
                return (None, true);
            }
            1 if is_sent => {
                self.handle.sleep_until(self.handle.now() + 1_000_000_000).await;
                wire::send(&self.handle, sock, &request[stop..]).await;
            }
            2 => self.world.reset(sock),
            _ => {}
        }
        // Also if the request was not sent completely: the answer may be early.
        (wire::receive(&self.handle, sock, is_head).await, misbehavior == 2)
    }
}
