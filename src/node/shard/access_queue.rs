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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access_trace::Method;

    fn record(time: u64) -> Record {
        Record {
            time,
            object: 0,
            size: 0,
            service_us: 0,
            status: 200,
            method: Method::Get,
            flags: 0,
            volume: 1,
        }
    }

    #[test]
    fn full_queue_drops_new_records_and_keeps_old_ones() {
        let queue = AccessQueue::new(Header { threshold: 10, started: 0 });
        let fitted = (0..ACCESS_RECORDS as u64 + 2).filter(|time| queue.push(record(*time)));
        assert_eq!(fitted.count(), ACCESS_RECORDS);
        assert_eq!(queue.take().map(|record| record.time), Some(0), "the oldest comes first");
        assert!(queue.push(record(7)) && !queue.push(record(8)));
        let rest: Vec<u64> = std::iter::from_fn(|| queue.take()).map(|it| it.time).collect();
        assert_eq!((rest.len(), rest[0], rest.last()), (ACCESS_RECORDS, 1, Some(&7)));
        assert!(queue.includes(10) && !queue.includes(11));
    }
}
