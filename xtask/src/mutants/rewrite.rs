//! A source file with mistakes built in behind a switch.

use std::ops::Range;

use super::site::{Edit, Site};

/// The module that a tree with mistakes built in has besides: the switch. `NONE` in the environment, or
/// nothing, chooses none. `coverage:FILE` chooses none and writes a byte 1 at the position of each number
/// that is asked for, at once, so that it survives a kill.
pub const SWITCH: &str = r#"//! Which mistake is made in this process.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const UNKNOWN: u32 = u32::MAX;
const COVERAGE: u32 = u32::MAX - 1;
const NONE: u32 = u32::MAX - 2;
static CHOSEN: AtomicU32 = AtomicU32::new(UNKNOWN);
static FILE: OnceLock<Option<File>> = OnceLock::new();
static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

/// Whether this mistake is to be made.
#[inline(always)]
#[must_use]
pub fn on(number: u32) -> bool {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    chosen == number || (chosen > NONE && ask(number))
}

#[cold]
#[inline(never)]
fn ask(number: u32) -> bool {
    if CHOSEN.load(Ordering::Relaxed) == UNKNOWN {
        let text = std::env::var("HAYLOFT_MUTANT").unwrap_or_default();
        let chosen = match text.strip_prefix("coverage:") {
            Some(path) => {
                let open = || OpenOptions::new().write(true).create(true).truncate(false).open(path).ok();
                FILE.get_or_init(open);
                COVERAGE
            }
            None => text.parse().unwrap_or(NONE),
        };
        CHOSEN.store(chosen, Ordering::Relaxed);
        return on(number);
    }
    let seen = &SEEN[number as usize];
    if !seen.load(Ordering::Relaxed)
        && !seen.swap(true, Ordering::Relaxed)
        && let Some(Some(file)) = FILE.get()
    {
        let _ = file.write_all_at(&[1], u64::from(number));
    }
    false
}
"#;

/// A rewritten file, and where each site is in it.
pub struct Rewritten {
    /// The file's new text.
    pub text: String,
    /// Bytes of it that each site takes, in the order of the sites.
    pub ranges: Vec<Range<usize>>,
}

/// Builds the mistakes of `sites` into `source`; each site comes with the numbers of its mistakes.
#[must_use]
pub fn rewrite(source: &str, sites: &[(&Site, Vec<u32>)]) -> Rewritten {
    let mut edits: Vec<(Edit, usize)> = Vec::new();
    for (n, (site, numbers)) in sites.iter().enumerate() {
        edits.extend(site.edits(source, numbers).into_iter().map(|edit| (edit, n)));
    }
    // At one place, what closes comes before what opens; what opens, in the order of the sites, outer ones
    // first; what closes, the other way round.
    edits.sort_by_key(|(edit, n)| {
        let n = isize::try_from(*n).expect("fewer sites than bytes");
        (edit.range.start, !edit.closes, if edit.closes { -n } else { n }, edit.range.end)
    });
    let mut text = String::with_capacity(source.len() * 2);
    let mut ranges: Vec<Option<Range<usize>>> = vec![None; sites.len()];
    let mut at = 0;
    for (edit, n) in edits {
        text.push_str(&source[at..edit.range.start.max(at)]);
        let from = text.len();
        text.push_str(&edit.text);
        let begin = ranges[n].take().map_or(from, |range| range.start);
        ranges[n] = Some(begin..text.len());
        at = edit.range.end.max(at);
    }
    text.push_str(&source[at..]);
    let ranges = ranges.into_iter().map(|range| range.expect("every site has edits")).collect();
    Rewritten { text, ranges }
}

#[cfg(test)]
mod tests {
    use super::super::sites::find;
    use super::*;

    fn rewritten(source: &str) -> String {
        let sites = find(source).unwrap();
        let mut number = 0;
        let numbered: Vec<_> = sites
            .iter()
            .map(|site| {
                let numbers =
                    (0..site.mutants.len()).map(|n| number + u32::try_from(n).unwrap()).collect();
                number += u32::try_from(site.mutants.len()).unwrap();
                (site, numbers)
            })
            .collect();
        rewrite(source, &numbered).text
    }

    #[test]
    fn nested_mutants_keep_each_operand_once() {
        let text = rewritten("fn f(a: &[u8]) -> X { a[g() + 1] < h(a) && k(a) }");
        for word in ["g()", "h(a)", "k(a)"] {
            assert_eq!(text.matches(word).count(), 1, "{word} in {text}");
        }
        syn::parse_file(&text).expect("still Rust");
    }

    #[test]
    fn rewritten_source_parses() {
        let source = "fn f(mut a: u64, b: u64) -> u64 { s.x += b * 2; t(a); let _ = u(); \
            if !v(a) || a.min(b + 3) > b { w(); } a - b - 1 }";
        let text = rewritten(source);
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}
