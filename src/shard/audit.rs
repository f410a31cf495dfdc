//! The audit log: who deleted what, and which writes were refused or failed. Off unless it is configured;
//! a read never comes here. Lines carry no cookie.

use super::Shard;
use crate::http::conn::Conn;
use crate::http::head::Method;
use crate::http::target::{self, Target};

/// A request that may be worth a line.
pub struct Audited {
    method: &'static str,
    peer: Box<str>,
    volume: Option<u32>,
    key: Option<u64>,
    alt: Option<u32>,
}

impl Shard {
    /// What the audit log needs of a request, taken before the request is carried out: who sent it may
    /// be gone when it is answered. Nothing of reads, and without an audit log.
    pub(super) async fn audited(
        &self,
        conn: &Conn,
        method: Method,
        target: Option<Target>,
    ) -> Option<Audited> {
        let method = match method {
            _ if !self.config.audit_log => return None,
            Method::Get | Method::Head => return None,
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        };
        let (volume, key, alt) = match target {
            Some(Target::Object { volume, key, alt, .. }) => (Some(volume), Some(key), Some(alt)),
            Some(Target::Volume { volume } | Target::Batch { volume }) => {
                (Some(volume), None, None)
            }
            Some(Target::Root) | None => (None, None, None),
        };
        Some(Audited { method, peer: conn.peer().await, volume, key, alt })
    }

    /// The same of a request that was refused before it was understood.
    pub(super) async fn audited_malformed(&self, conn: &Conn) -> Option<Audited> {
        let method = match conn.refused_method()? {
            b"PUT" => Method::Put,
            b"POST" => Method::Post,
            b"DELETE" => Method::Delete,
            _ => return None,
        };
        let target = conn.refused_target().and_then(|target| target::parse(target).ok());
        self.audited(conn, method, target).await
    }
}

impl Audited {
    /// Logs the request, which has been answered, unless it is a write that was carried out.
    pub fn log(self, conn: &Conn) {
        let Self { method, peer, volume, key, alt } = self;
        let status = conn.answer().map(|status| status.code());
        if method != "DELETE" && status.is_some_and(|status| status < 400) {
            return;
        }
        let outcome = match status {
            Some(status) if status < 400 => "carried out",
            Some(status) if status < 500 => "refused",
            Some(_) => "failed",
            None => "ended without an answer",
        };
        tracing::info!(
            target: "hayloft::audit", peer = &*peer, volume, key, alt, status, "{method} {outcome}"
        );
    }
}
