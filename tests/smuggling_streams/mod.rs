//! The streams that are sent: the corpus, a list of ambiguous streams, and mutations of both.

mod attacks;
mod mutation;
mod random;

use hayloft::http::head::Dialects;

use crate::http_cases::corpus;
use attacks::ambiguous_streams;
use mutation::mutate;

pub use attacks::{attack, unambiguous_streams};
pub use random::Random;

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Folder of the corpus.
pub fn folder(dialects: Dialects) -> &'static str {
    match dialects {
        Dialects::Own => "http",
        Dialects::WithFids => "fid",
    }
}

/// All streams of a run: the corpus, the ambiguous streams and mutations.
pub struct Streams {
    dialects: Dialects,
    corpus: Vec<Vec<u8>>,
    /// Number of ambiguous streams.
    ambiguous_count: usize,
    /// Total number of streams.
    pub count: usize,
    random: Random,
}

impl Streams {
    pub fn new(dialects: Dialects) -> Self {
        let seed = number("HAYLOFT_SMUGGLING_SEED", 1);
        let mutations = usize::try_from(number("HAYLOFT_SMUGGLING_STREAMS", 3000)).unwrap();
        let cases = corpus(folder(dialects)).into_iter().map(|case| case.stream);
        let corpus: Vec<_> = cases.collect();
        let ambiguous_count = ambiguous_streams(&attack(0, &mut Random(seed)), dialects).len();
        let count = corpus.len() + ambiguous_count + mutations;
        println!("{count} streams, {mutations} of them mutated with seed {seed}");
        Self { dialects, corpus, ambiguous_count, count, random: Random(seed) }
    }

    /// Makes stream `n`, whose attack is on `canary`.
    pub fn make(&mut self, n: usize, canary: u64) -> Vec<u8> {
        let (random, dialects) = (&mut self.random, self.dialects);
        let attack = attack(canary, random);
        if n < self.corpus.len() {
            return self.corpus[n].clone();
        }
        if n < self.corpus.len() + self.ambiguous_count {
            return ambiguous_streams(&attack, dialects).swap_remove(n - self.corpus.len());
        }
        let mut stream = match random.below(8) {
            0 => self.corpus[random.below(self.corpus.len())].clone(),
            1 | 2 => {
                let at = random.below(self.ambiguous_count);
                ambiguous_streams(&attack, dialects).swap_remove(at)
            }
            _ => {
                let mut streams = unambiguous_streams(&attack, dialects);
                streams.swap_remove(random.below(streams.len()))
            }
        };
        mutate(&mut stream, random);
        stream
    }
}
