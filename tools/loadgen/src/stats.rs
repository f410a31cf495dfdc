//! What is counted: by each thread for a second at a time, added up as the seconds come in.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::operation::Kind;
use crate::verdict::Verdict;

/// Latencies are told apart from here on (nanoseconds),
const LATENCY_MIN: u64 = 64;
/// up to here; longer ones count as this one (nanoseconds: ten minutes).
const LATENCY_MAX: u64 = 600_000_000_000;
/// with so many significant digits.
const DIGITS: u8 = 3;
/// How many errors are told word for word.
const NOTES_MAX: usize = 5;

/// An empty histogram of times in nanoseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, DIGITS).expect("bounds that make sense")
}

/// Answers of one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub count: u64,
    /// Done.
    pub ok: u64,
    /// Refused with 503.
    pub rejected: u64,
    /// Not found, as it should be.
    pub missing: u64,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What was asked.
    pub kind: Kind,
    /// What the answer means.
    pub verdict: Verdict,
    /// Its status.
    pub status: u16,
    /// When it was meant to be asked (nanoseconds of the monotonic clock).
    pub start: u64,
    /// When the answer was there.
    pub end: u64,
    /// Bytes of objects that came or went.
    pub payload: u64,
}

/// What was counted in some time.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Answers by kind of operation, in the order of [`Kind::ALL`].
    pub counts: [Counts; Kind::ALL.len()],
    /// Latencies of what was done, and of what was never sent, in the same order (nanoseconds).
    pub done: [Histogram<u64>; Kind::ALL.len()],
    /// Of what was refused.
    pub rejected: Histogram<u64>,
    /// Of what was not found, as it should be, or never sent and not there.
    pub missing: Histogram<u64>,
    /// Of all that were never sent, how long they had waited in the end.
    pub unsent: Histogram<u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with wrong bytes.
    pub wrong: u64,
    /// Answers that should not be, and requests without one.
    pub errors: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Answers, whenever they came.
    pub answers: u64,
    /// Answers that came inside the measured time, whenever they were meant to be asked.
    pub completed: u64,
    /// Those of them that did what was asked, or rightly found nothing.
    pub served: u64,
    /// Bytes of objects in them.
    pub payload: u64,
    /// Bytes received, with heads.
    pub received: u64,
    /// Bytes sent, with heads.
    pub sent: u64,
    /// Connections that had to be made anew.
    pub reconnects: u64,
    /// The first errors, in words.
    pub notes: Vec<String>,
}

impl Interval {
    /// Nothing counted.
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

    /// Counts requests that were due and never sent, after they waited for so long (nanoseconds). Whoever
    /// asked had no answer until then: to leave them out would make an overloaded server look quick.
    pub fn record_unsent(&mut self, kind: usize, is_missing: bool, waited: u64, count: u64) {
        let of_kind = if is_missing { &mut self.missing } else { &mut self.done[kind] };
        of_kind.saturating_record_n(waited, count);
        self.unsent.saturating_record_n(waited, count);
    }

    /// Counts an answer that came inside the measured time.
    pub fn complete(&mut self, sample: &Sample) {
        self.completed += 1;
        self.served += u64::from(matches!(sample.verdict, Verdict::Done | Verdict::Missing));
        self.payload += sample.payload;
    }

    /// Keeps the first errors in words.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text());
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        let same = "histograms of the same bounds";
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

    /// All requests that were answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.iter().map(|counts| counts.count).sum()
    }

    /// All that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.iter().map(|counts| counts.rejected).sum()
    }

    /// Latencies of everything that was answered as it should be, rejections left out, and of what was never
    /// sent (nanoseconds).
    #[must_use]
    pub fn served(&self) -> Histogram<u64> {
        let mut all = self.missing.clone();
        for done in &self.done {
            all.add(done).expect("histograms of the same bounds");
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
    fn answers_are_counted_by_what_they_mean() {
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
            "rejections and errors are no service times: {max}"
        );
    }

    #[test]
    fn refusals_in_time_are_answers_and_no_goodput() {
        let mut interval = Interval::new();
        for verdict in [Verdict::Done, Verdict::Missing, Verdict::Rejected, Verdict::Unexpected] {
            interval.complete(&sample(verdict, 200, 1000));
        }
        let mut total = Interval::new();
        total.add(&interval);
        assert_eq!((total.completed, total.served), (4, 2));
    }

    #[test]
    fn what_was_never_sent_is_slow_and_no_answer() {
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
    fn latencies_keep_three_digits_and_have_a_top() {
        let mut interval = Interval::new();
        for latency in [31_234, u64::MAX - 1000] {
            interval.record(&sample(Verdict::Done, 200, latency));
        }
        let all = interval.served();
        assert!(all.value_at_quantile(0.1).abs_diff(31_234) <= 64);
        assert!(all.max() >= LATENCY_MAX);
    }

    #[test]
    fn only_the_first_errors_are_kept_in_words() {
        let mut interval = Interval::new();
        for n in 0..100 {
            interval.note(|| n.to_string());
        }
        assert_eq!(interval.notes, ["0", "1", "2", "3", "4"]);
    }
}
