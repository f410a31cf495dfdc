//! Access trace records of a shard. A shard only pushes records into a bounded queue; the daemon writes
//! them to a file.

use crossbeam_queue::ArrayQueue;

use super::Shard;
use super::session::Object;
use crate::base::access_trace::{FLAG_CROSSED, FLAG_RANGE, Header, Method, Record, object_hash};
use crate::base::limits::ACCESS_RECORDS;
use crate::http::status::Status;

/// Bounded queue of access records, filled by the shards and emptied by the daemon.
pub struct AccessQueue {
    header: Header,
    records: ArrayQueue<Record>,
}

impl AccessQueue {
    /// Creates an empty queue for a trace with this file header.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header, records: ArrayQueue::new(ACCESS_RECORDS) }
    }

    /// Removes and returns the oldest record.
    #[must_use]
    pub fn take(&self) -> Option<Record> {
        self.records.pop()
    }
}

/// A completed request on an object, as input of the access trace.
#[derive(Clone, Copy)]
pub struct Accessed {
    /// Request method.
    pub method: Method,
    /// Object that the request names.
    pub object: Object,
    /// Length of the object (bytes); 0 if there is none.
    pub size: u64,
    /// Status of the reply.
    pub status: Status,
    /// Whether the request has a `Range` field.
    pub is_range: bool,
    /// Time at which the request had arrived (nanoseconds, see [`crate::runtime::Handle::now`]).
    pub began: u64,
}

impl Shard {
    /// Adds a request to the access trace, if there is a trace and its sample includes the object.
    pub(super) fn trace(&self, accessed: &Accessed) {
        let Some(queue) = &self.shared.access else { return };
        let Accessed { method, object, size, status, is_range, began } = *accessed;
        let hash = object_hash(object.volume, object.id.key.0, object.id.alt.0);
        if !queue.header.includes(hash) {
            return;
        }
        let took = self.handle.now().saturating_sub(began);
        let crossed = self.owner_of(object.volume).is_some_and(|owner| owner != self.id);
        let flags = [(is_range, FLAG_RANGE), (crossed, FLAG_CROSSED)];
        let record = Record {
            time: self.handle.wall().saturating_sub(took),
            object: hash,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            service_us: u32::try_from(took / 1000).unwrap_or(u32::MAX),
            status: status.code(),
            method,
            flags: flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum(),
            volume: object.volume,
        };
        match queue.records.push(record) {
            Ok(()) => self.metrics().access_records.inc(),
            Err(_) => self.metrics().access_lost.inc(),
        }
    }
}
