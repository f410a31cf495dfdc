//! Makes the access trace records of a shard.

use super::answered::{Access, Answered};
use super::object_name::ObjectName;
use super::shard::Shard;
use crate::base::access_trace::{self, FLAG_CROSSED, FLAG_RANGE, Record, object_hash};
use crate::http::head::{Head, Method};
use crate::http::status::Status;

impl Shard {
    /// Adds what a request did to objects to the access trace, if there is a trace and its sample includes
    /// them. `began` is the time at which the request had arrived (nanoseconds, see
    /// [`crate::runtime::Handle::now`]).
    pub(super) fn trace(&self, head: &Head, began: u64, answered: &Answered) {
        let Some(queue) = &self.shared.access else { return };
        let Some(status) = answered.status else { return };
        let trace = |method, status: Status, object: &ObjectName, size: u64, is_range| {
            let hash = object_hash(object.volume.0, object.id.key.0, object.id.alt.0);
            if !queue.includes(hash) {
                return;
            }
            let now = self.handle.now();
            let arrived = self.handle.wall().saturating_sub(now.saturating_sub(began));
            let service_ns = answered.decided_at.unwrap_or(now).saturating_sub(began);
            let crossed = self.owner_of(object.volume).is_some_and(|owner| owner != self.id);
            let flags = [(is_range, FLAG_RANGE), (crossed, FLAG_CROSSED)];
            let record = Record {
                time: arrived,
                object: hash,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                service_us: u32::try_from(service_ns / 1000).unwrap_or(u32::MAX),
                status: status.code(),
                method,
                flags: flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum(),
                volume: object.volume.0,
            };
            match queue.push(record) {
                true => self.metrics().access_records.inc(),
                false => self.metrics().access_lost.inc(),
            }
        };
        match &answered.access {
            Access::None => {}
            Access::Object { object, size, is_range } => {
                trace(traced(head.method), status, object, *size, *is_range);
            }
            Access::Batch(photos) => {
                for (object, size) in photos {
                    trace(access_trace::Method::Batch, status, object, *size, false);
                }
            }
            Access::Deletes(photos) => {
                for (object, status) in photos {
                    trace(access_trace::Method::Delete, *status, object, 0, false);
                }
            }
        }
    }
}

/// Converts a method to that of the access trace.
fn traced(method: Method) -> access_trace::Method {
    match method {
        Method::Get => access_trace::Method::Get,
        Method::Head => access_trace::Method::Head,
        Method::Put => access_trace::Method::Put,
        Method::Post => access_trace::Method::Post,
        Method::Delete => access_trace::Method::Delete,
        Method::Options => access_trace::Method::Other,
    }
}
