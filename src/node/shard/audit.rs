//! The audit log: all deletes, and the writes that were refused or failed, with the address of the client.
//! Off unless configured; reads are never logged. Lines contain no cookie. A multi-delete has a line for each
//! photo, as if each were deleted by a request of its own.

use super::answered::{Access, Answered};
use super::shard::Shard;
use crate::base::types::VolumeId;
use crate::http::conn::Conn;
use crate::http::head::Method;
use crate::http::status::Status;
use crate::http::target::{self, Target};

/// A request that may have to be logged.
pub struct Audited {
    method: &'static str,
    peer: Box<str>,
    volume: Option<VolumeId>,
    key: Option<u64>,
    alt: Option<u32>,
}

impl Shard {
    /// Collects the audit data of a request before it is carried out, because the peer may have disconnected
    /// when it is answered. `None` for reads, and when the audit log is off.
    pub(super) async fn audited(
        &self,
        conn: &Conn,
        method: Method,
        target: Option<Target>,
    ) -> Option<Audited> {
        let method = match method {
            _ if !self.config.audit_log => return None,
            Method::Get | Method::Head | Method::Options => return None,
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        };
        let method = match target {
            Some(Target::MultiDelete { .. }) if method == "POST" => "DELETE",
            _ => method,
        };
        let (volume, key, alt) = match target {
            Some(Target::Object { volume, key, alt, .. }) => (Some(volume), Some(key), Some(alt)),
            Some(
                Target::Volume { volume }
                | Target::Batch { volume }
                | Target::MultiDelete { volume },
            ) => (Some(volume), None, None),
            Some(Target::Root) | None => (None, None, None),
        };
        Some(Audited { method, peer: conn.peer().await, volume, key, alt })
    }

    /// Collects the audit data of a request whose head was rejected.
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
    /// Logs the request as [`Self::log`] does; a multi-delete whose photos are known, photo by photo.
    pub fn log_answered(self, answered: &Answered) {
        let Access::Deletes(photos) = &answered.access else { return self.log(answered.status) };
        for (object, status) in photos {
            let (key, alt) = (Some(object.id.key.0), Some(object.id.alt.0));
            Self { peer: self.peer.clone(), key, alt, ..self }.log(Some(*status));
        }
    }

    /// Logs the request after it was answered, unless it is a PUT or POST that succeeded.
    pub fn log(self, status: Option<Status>) {
        let Self { method, peer, volume, key, alt } = self;
        let status = status.map(|status| status.code());
        if method != "DELETE" && status.is_some_and(|status| status < 400) {
            return;
        }
        let outcome = match status {
            Some(status) if status < 400 => "carried out",
            Some(status) if status < 500 => "refused",
            Some(_) => "failed",
            None => "ended without an answer",
        };
        let volume = volume.map(|volume| volume.0);
        tracing::info!(
            target: "hayloft::audit", peer = &*peer, volume, key, alt, status, "{method} {outcome}"
        );
    }
}
