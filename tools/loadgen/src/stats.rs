//! Counters: one interval per thread and second, added up over threads and seconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::operation::Kind;
use crate::verdict::Verdict;

/// Lower bound of the latency histograms (nanoseconds): shorter ones are not distinguished.
const LATENCY_MIN: u64 = 64;
/// Upper bound of the latency histograms (nanoseconds): ten minutes; longer ones count as this.
const LATENCY_MAX: u64 = 600_000_000_000;
/// Significant decimal digits of the latency histograms.
const DIGITS: u8 = 3;
/// Maximum number of errors whose descriptions are kept.
const NOTES_MAX: usize = 5;

/// Creates an empty histogram of times in nanoseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, DIGITS)
        .expect("the constant bounds are valid")
}

/// Number of answers to one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All answers.
    pub count: u64,
    /// Successful ones.
    pub ok: u64,
    /// Refused with 503 or 429.
    pub rejected: u64,
    /// Not found, as expected.
    pub missing: u64,
}

/// Measurement of one answer.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Kind of the operation.
    pub kind: Kind,
    /// Assessment of the answer.
    pub verdict: Verdict,
    /// HTTP status.
    pub status: u16,
    /// Time from which latency counts: due time (open loop) or send time (nanoseconds of the monotonic
    /// clock).
    pub start: u64,
    /// Time of the last byte of the answer (nanoseconds of the monotonic clock).
    pub end: u64,
    /// Object bytes received or sent.
    pub payload: u64,
}

/// Counters of an interval of time.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Number of answers by kind of operation, in the order of [`Kind::ALL`].
    pub counts: [Counts; Kind::ALL.len()],
    /// Latencies of successful operations and of requests never sent, in the same order (nanoseconds).
    pub done: [Histogram<u64>; Kind::ALL.len()],
    /// Latencies of refused operations (nanoseconds).
    pub rejected: Histogram<u64>,
    /// Latencies of expected "not found" answers, and of such requests never sent (nanoseconds).
    pub missing: Histogram<u64>,
    /// Waiting times of all requests never sent (nanoseconds).
    pub unsent: Histogram<u64>,
    /// Number of answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with wrong content.
    pub wrong: u64,
    /// Unexpected answers, and unanswered requests.
    pub errors: u64,
    /// Unanswered requests.
    pub unanswered: u64,
    /// Answers, at any time.
    pub answers: u64,
    /// Answers received in the measured time, regardless of when they were due.
    pub completed: u64,
    /// Number of these that were successful, or not found as expected.
    pub served: u64,
    /// Object bytes in these answers.
    pub payload: u64,
    /// Bytes received, including heads.
    pub received: u64,
    /// Bytes sent, including heads.
    pub sent: u64,
    /// Connections re-established.
    pub reconnects: u64,
    /// Descriptions of the first errors.
    pub notes: Vec<String>,
}

impl Interval {
    /// Creates an empty interval.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Default::default(),
            done: std::array::from_fn(|_| histogram()),
            rejected: histogram(),
            missing: histogram(),
            unsent: histogram(),
            statuses: BTreeMap::new(),
            wrong: 0,
            errors: 0,
            unanswered: 0,
            answers: 0,
            completed: 0,
            served: 0,
            payload: 0,
            received: 0,
            sent: 0,
            reconnects: 0,
            notes: Vec::new(),
        }
    }

    /// Counts an answer.
    pub fn record(&mut self, sample: &Sample) {
        let counts = &mut self.counts[sample.kind as usize];
        let latency = sample.end.saturating_sub(sample.start);
        counts.count += 1;
        *self.statuses.entry(sample.status).or_default() += 1;
        match sample.verdict {
            Verdict::Done => {
                counts.ok += 1;
                self.done[sample.kind as usize].saturating_record(latency);
            }
            Verdict::Missing => {
                counts.missing += 1;
                self.missing.saturating_record(latency);
            }
            Verdict::Rejected => {
                counts.rejected += 1;
                self.rejected.saturating_record(latency);
            }
            Verdict::Wrong | Verdict::Unexpected => {}
        }
    }

    /// Counts requests that were due but never sent, after `waited` nanoseconds. Omitting them would make an
    /// overloaded server look fast.
    pub fn record_unsent(&mut self, kind: usize, is_missing: bool, waited: u64, count: u64) {
        let of_kind = if is_missing { &mut self.missing } else { &mut self.done[kind] };
        of_kind.saturating_record_n(waited, count);
        self.unsent.saturating_record_n(waited, count);
    }

    /// Counts an answer received in the measured time.
    pub fn complete(&mut self, sample: &Sample) {
        self.completed += 1;
        self.served += u64::from(matches!(sample.verdict, Verdict::Done | Verdict::Missing));
        self.payload += sample.payload;
    }

    /// Keeps the description of an error, if it is among the first.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text());
        }
    }

    /// Adds the counters of another interval.
    pub fn add(&mut self, other: &Self) {
        let same = "all histograms have the same bounds";
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.count += more.count;
            counts.ok += more.ok;
            counts.rejected += more.rejected;
            counts.missing += more.missing;
        }
        for (done, more) in self.done.iter_mut().zip(&other.done) {
            done.add(more).expect(same);
        }
        self.rejected.add(&other.rejected).expect(same);
        self.missing.add(&other.missing).expect(same);
        self.unsent.add(&other.unsent).expect(same);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
        self.errors += other.errors;
        self.answers += other.answers;
        self.completed += other.completed;
        self.served += other.served;
        self.payload += other.payload;
        self.received += other.received;
        self.sent += other.sent;
        self.reconnects += other.reconnects;
        for text in &other.notes {
            self.note(|| text.clone());
        }
    }

    /// Number of answered requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.iter().map(|counts| counts.count).sum()
    }

    /// Number of refused requests.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.iter().map(|counts| counts.rejected).sum()
    }

    /// Latencies of all correct answers without rejections, and of requests never sent (nanoseconds).
    #[must_use]
    pub fn served(&self) -> Histogram<u64> {
        let mut all = self.missing.clone();
        for done in &self.done {
            all.add(done).expect("all histograms have the same bounds");
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(verdict: Verdict, status: u16, latency: u64) -> Sample {
        let (start, end) = (1000, 1000 + latency);
        Sample { kind: Kind::Get, verdict, status, start, end, payload: 10 }
    }

    #[test]
    fn answers_are_counted_by_verdict() {
        let mut interval = Interval::new();
        interval.record(&sample(Verdict::Done, 200, 50_000));
        interval.record(&sample(Verdict::Missing, 404, 20_000));
        interval.record(&sample(Verdict::Rejected, 503, 700_000));
        interval.record(&sample(Verdict::Unexpected, 500, 900_000));
        let mut total = Interval::new();
        total.add(&interval);
        total.add(&interval);
        let get = total.counts[Kind::Get as usize];
        assert_eq!(get, Counts { count: 8, ok: 2, rejected: 2, missing: 2 });
        assert_eq!((total.requests(), total.refused()), (8, 2));
        assert_eq!(total.statuses[&404], 2);
        assert_eq!(total.served().len(), 4);
        let max = total.served().max();
        assert!(
            (50_000..50_100).contains(&max),
            "rejections and errors must not count as service times: {max}"
        );
    }

    #[test]
    fn refusals_count_as_answers_but_not_as_goodput() {
        let mut interval = Interval::new();
        for verdict in [Verdict::Done, Verdict::Missing, Verdict::Rejected, Verdict::Unexpected] {
            interval.complete(&sample(verdict, 200, 1000));
        }
        let mut total = Interval::new();
        total.add(&interval);
        assert_eq!((total.completed, total.served), (4, 2));
    }

    #[test]
    fn requests_never_sent_count_as_latency_but_not_as_answers() {
        let mut interval = Interval::new();
        interval.record(&sample(Verdict::Done, 200, 50_000));
        interval.record_unsent(Kind::Get as usize, false, 3_000_000, 2);
        interval.record_unsent(Kind::Get as usize, true, 4_000_000, 1);
        let mut total = Interval::new();
        total.add(&interval);
        assert_eq!((total.requests(), total.answers, total.unsent.len()), (1, 0, 3));
        assert_eq!((total.done[Kind::Get as usize].len(), total.missing.len()), (3, 1));
        let median = total.served().value_at_quantile(0.5);
        assert!((3_000_000..3_010_000).contains(&median), "{median}");
    }

    #[test]
    fn latencies_keep_three_digits_up_to_the_maximum() {
        let mut interval = Interval::new();
        for latency in [31_234, u64::MAX - 1000] {
            interval.record(&sample(Verdict::Done, 200, latency));
        }
        let all = interval.served();
        assert!(all.value_at_quantile(0.1).abs_diff(31_234) <= 64);
        assert!(all.max() >= LATENCY_MAX);
    }

    #[test]
    fn only_the_first_error_descriptions_are_kept() {
        let mut interval = Interval::new();
        for n in 0..100 {
            interval.note(|| n.to_string());
        }
        assert_eq!(interval.notes, ["0", "1", "2", "3", "4"]);
    }
}
