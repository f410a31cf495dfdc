//! Counts of responses by status.
//!
//! The statuses of the data API are a short closed list (`crate::http::status`), so the counters by exact
//! status are a small array and not a map. A status that is not in the list is counted as `other`, and by its
//! class, so that a new status that is missing here still appears in the graphs.

use super::counter::Counter;
use super::label::{CounterBy, label_enum};

/// Statuses with a counter of their own, ascending. Position `STATUSES.len()` counts all others.
pub const STATUSES: [u16; 25] = [
    100, 200, 201, 204, 206, 304, 400, 403, 404, 405, 408, 409, 411, 412, 413, 414, 415, 416, 417,
    431, 500, 501, 503, 505, 507,
];

/// Exported names of the slots: [`STATUSES`] and `other`.
pub(super) const STATUS_NAMES: [&str; SLOTS] = [
    "100", "200", "201", "204", "206", "304", "400", "403", "404", "405", "408", "409", "411",
    "412", "413", "414", "415", "416", "417", "431", "500", "501", "503", "505", "507", "other",
];

const SLOTS: usize = STATUSES.len() + 1;

/// Length of the lookup table: it covers statuses below this.
const LOOKUP_LEN: usize = 600;

/// Slot of each status, so that counting a response needs no search.
static SLOT_OF: [u8; LOOKUP_LEN] = {
    let mut table = [STATUSES.len() as u8; LOOKUP_LEN];
    let mut i = 0;
    while i < STATUSES.len() {
        table[STATUSES[i] as usize] = i as u8;
        i += 1;
    }
    table
};

label_enum! {
    /// The class of a status, its first digit.
    pub enum StatusClass: "class" {
        /// 100 to 199.
        Informational = "1xx",
        /// 200 to 299.
        Success = "2xx",
        /// 300 to 399.
        Redirection = "3xx",
        /// 400 to 499.
        ClientError = "4xx",
        /// 500 to 599.
        ServerError = "5xx",
        /// Not an HTTP status; a count here is a bug.
        Invalid = "invalid",
    }
}

impl StatusClass {
    /// The class of `status`.
    #[inline]
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Invalid,
        }
    }
}

/// Counts of responses by class and by exact status; one writer.
#[derive(Debug)]
pub struct Responses {
    by_class: CounterBy<StatusClass, { StatusClass::COUNT }>,
    by_status: [Counter; SLOTS],
}

impl Responses {
    /// All counters at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_class: CounterBy::new(), by_status: [const { Counter::new() }; SLOTS] }
    }

    /// Counts one response. Only the owning thread may call this.
    #[inline]
    pub fn record(&self, status: u16) {
        self.by_class.at(StatusClass::of(status)).inc();
        self.by_status[slot(status)].inc();
    }

    /// Number of responses of one class; callable from any thread.
    #[cfg(test)]
    fn class(&self, class: StatusClass) -> u64 {
        self.by_class.at(class).value()
    }

    /// Number of responses with this exact status; statuses not in [`STATUSES`] share one count.
    #[cfg(test)]
    fn status(&self, status: u16) -> u64 {
        self.by_status[slot(status)].value()
    }

    /// Number of all responses; callable from any thread.
    #[cfg(test)]
    fn total(&self) -> u64 {
        self.by_class.sum()
    }

    pub(super) fn class_at(&self, index: usize) -> u64 {
        self.by_class.get(index)
    }

    pub(super) fn status_at(&self, index: usize) -> u64 {
        self.by_status[index].value()
    }
}

impl Default for Responses {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn slot(status: u16) -> usize {
    SLOT_OF.get(usize::from(status)).map_or(STATUSES.len(), |&slot| usize::from(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::metrics::Label;

    #[test]
    fn names_match_the_statuses() {
        for (status, name) in STATUSES.iter().zip(STATUS_NAMES) {
            assert_eq!(status.to_string(), name);
        }
        assert_eq!(STATUS_NAMES[STATUSES.len()], "other");
        assert!(STATUSES.windows(2).all(|p| p[0] < p[1]), "rising, no duplicates");
    }

    #[test]
    fn every_status_counts_once_by_class_and_once_exactly() {
        let r = Responses::new();
        for status in 0..=u16::MAX {
            r.record(status);
        }
        let n = u64::from(u16::MAX) + 1;
        assert_eq!(r.total(), n);
        assert_eq!((0..SLOTS).map(|i| r.status_at(i)).sum::<u64>(), n);
        for status in STATUSES {
            assert_eq!(r.status(status), 1, "{status}");
        }
        assert_eq!(r.status(418), n - STATUSES.len() as u64);
        for &class in &StatusClass::ALL[..5] {
            assert_eq!(r.class(class), 100, "{class:?}");
        }
    }

    #[test]
    fn class_is_the_first_digit() {
        assert_eq!(StatusClass::of(99), StatusClass::Invalid);
        assert_eq!(StatusClass::of(206).name(), "2xx");
        assert_eq!(StatusClass::of(431).name(), "4xx");
        assert_eq!(StatusClass::of(600), StatusClass::Invalid);
    }
}
