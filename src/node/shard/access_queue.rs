//! Queue of the access trace. Shards only push records into it; the daemon writes them to a file.

use crossbeam_queue::ArrayQueue;

use crate::base::access_trace::{Header, Record};
use crate::base::limits::ACCESS_RECORDS;

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
    /// Whether the sample of the trace includes the object with this hash.
    pub(super) fn includes(&self, object: u64) -> bool {
        self.header.includes(object)
    }

    /// Adds a record. Returns false, and omits it, if the queue is full.
    pub(super) fn push(&self, record: Record) -> bool {
        self.records.push(record).is_ok()
    }
}
