//! What the access trace is told of each request. A shard only puts records into a bounded queue; who
//! writes them to a file is the daemon's business.

use crossbeam_queue::ArrayQueue;

use super::Shard;
use super::session::Object;
use crate::access_trace::{FLAG_CROSSED, FLAG_RANGE, Header, Method, Record, object_hash};
use crate::http::status::Status;
use crate::limits::ACCESS_RECORDS;

/// Where the shards put records and the daemon takes them.
pub struct AccessQueue {
    header: Header,
    records: ArrayQueue<Record>,
}

impl AccessQueue {
    /// For a trace that begins so.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header, records: ArrayQueue::new(ACCESS_RECORDS) }
    }

    /// The oldest record that was not taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Record> {
        self.records.pop()
    }
}

/// What came of a request.
#[derive(Clone, Copy)]
pub struct Accessed {
    /// What was asked.
    pub method: Method,
    /// Of which object.
    pub object: Object,
    /// Its length (bytes); 0 if there is none.
    pub size: u64,
    /// The answer.
    pub status: Status,
    /// Whether a range was asked for.
    pub is_range: bool,
    /// When the request was there (nanoseconds, see [`crate::runtime::Handle::now`]).
    pub began: u64,
}

impl Shard {
    /// Puts a request into the trace, if there is one and the object is in it.
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
