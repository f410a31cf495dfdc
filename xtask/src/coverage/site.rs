//! Places of a file that tests may or may not reach, and those that no test reached.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::counts::FileCounts;
use super::source::{Source, contains};

/// Maximum length of the code that names a site (bytes).
const SHOWN_MAX: usize = 70;

/// What can happen at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The function is called.
    Called,
    /// The code runs.
    Run,
    /// The condition is true.
    True,
    /// The condition is false.
    False,
    /// The operand of a `?` is an error or nothing.
    Fails,
}

impl Event {
    /// Its absence, in words.
    fn never(self) -> &'static str {
        match self {
            Self::Called => "never called",
            Self::Run => "never run",
            Self::True => "never true",
            Self::False => "never false",
            Self::Fails => "never fails",
        }
    }
}

/// A place and an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, relative to the root of the project.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// The enclosing function.
    pub function: String,
    /// What can happen.
    pub event: Event,
    /// Whether it happened.
    pub is_seen: bool,
    /// What did not happen, if it did not, and the code.
    pub what: String,
    /// Number, from 1, among the sites of the function with the same text.
    pub nth: usize,
    /// Whether no test reached it, although tests reached what is around it.
    pub is_gap: bool,
}

impl Site {
    /// Key that does not depend on the line: file, function, event with code, and number, separated by tabs.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.file.display(), self.function, self.what, self.nth)
    }
}

struct Found {
    at: Range<usize>,
    event: Event,
    code: String,
    is_seen: bool,
    is_gap: bool,
}

/// Returns all sites of a file in the order of the file. A gap inside of another one is not a gap of its own.
#[must_use]
pub fn sites(file: &Path, source: &Source, counts: &FileCounts) -> Vec<Site> {
    let mut found = of_regions(source, counts);
    let gaps: Vec<_> = found.iter().filter(|it| it.is_gap).map(|it| it.at.clone()).collect();
    found.extend(of_branches(source, counts, &gaps));
    found.sort_by_key(|it| (it.at.start, std::cmp::Reverse(it.at.end), it.event));
    let mut alike = BTreeMap::new();
    let mut sites = Vec::new();
    for Found { at, event, code, is_seen, is_gap } in found {
        let function = source.function(&at).to_owned();
        let what = match event {
            Event::Called => event.never().to_owned(),
            _ => format!("{}: {code}", event.never()),
        };
        let nth = alike.entry((function.clone(), what.clone())).or_insert(0);
        *nth += 1;
        let (line, nth) = (source.line(at.start), *nth);
        let file = file.to_owned();
        sites.push(Site { file, line, function, event, is_seen, what, nth, is_gap });
    }
    sites
}

/// Parts of the syntax, `?`, and regions that are none of both.
fn of_regions(source: &Source, counts: &FileCounts) -> Vec<Found> {
    let all = counts
        .regions
        .iter()
        .map(|(place, count)| (source.offset(place.start)..source.offset(place.end), *count));
    let regions: Vec<_> = all.filter(|(range, _)| !source.is_left_out(range)).collect();
    let (mut found, mut gaps): (Vec<Found>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    for part in source.parts() {
        let mut inside = regions.iter().filter(|(range, _)| contains(&part.code, range)).peekable();
        if inside.peek().is_none() {
            continue;
        }
        let is_outermost = !gaps.iter().any(|gap| contains(gap, &part.code));
        let is_seen = inside.any(|(_, count)| *count > 0);
        let is_gap = is_outermost && !is_seen;
        if is_gap {
            gaps.push(part.code.clone());
        }
        let event = if part.is_function { Event::Called } else { Event::Run };
        let code = beginning(&source.code(&part.shown));
        found.push(Found { at: part.code.clone(), event, code, is_seen, is_gap });
    }
    for (range, count) in &regions {
        let is_seen = *count > 0;
        let is_gap = !is_seen && !gaps.iter().any(|gap| contains(gap, range));
        if let Some(operand) = source.operand(range.start).filter(|_| range.len() == 1) {
            let code = end(&source.code(operand));
            found.push(Found { at: range.clone(), event: Event::Fails, code, is_seen, is_gap });
        } else if is_gap {
            let code = beginning(&source.code(range));
            found.push(Found { at: range.clone(), event: Event::Run, code, is_seen, is_gap });
            gaps.push(range.clone());
        }
    }
    found
}

/// Both results of each condition. That one never occurs is no gap if its consequence is one.
fn of_branches(source: &Source, counts: &FileCounts, gaps: &[Range<usize>]) -> Vec<Found> {
    let mut found = Vec::new();
    for (place, sums) in &counts.branches {
        let at = source.offset(place.start)..source.offset(place.end);
        if source.is_left_out(&at) {
            continue;
        }
        for (event, result, count) in [(Event::True, true, sums[0]), (Event::False, false, sums[1])]
        {
            let is_reached = sums[0] > 0 || sums[1] > 0;
            let follows = |code: &Range<usize>| {
                gaps.iter().any(|gap| contains(gap, code) || contains(code, gap))
                    || source.is_left_out(code)
            };
            let mut consequences = source.consequences().iter();
            let is_told = consequences
                .any(|it| it.result == result && contains(&it.condition, &at) && follows(&it.code));
            let (is_seen, code) = (count > 0, beginning(&source.code(&at)));
            let is_gap = is_reached && !is_seen && !is_told;
            found.push(Found { at: at.clone(), event, code, is_seen, is_gap });
        }
    }
    found
}

fn beginning(code: &str) -> String {
    code.chars().take(SHOWN_MAX).collect::<String>().trim_end().to_owned()
}

fn end(code: &str) -> String {
    let skipped = code.chars().count().saturating_sub(SHOWN_MAX);
    code.chars().skip(skipped).collect::<String>().trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::counts::Place;
    use super::*;

    const SOURCE: &str = "\
impl Log {
    fn append(&self) -> Result<(), Error> {
        if self.full || self.closed {
            warn();
            return Err(Error);
        }
        self.write()?;
        assert!(self.open, \"it is {}\", self.state);
        Ok(())
    }
    fn close(&self) {
        self.sync();
    }
}
#[cfg(test)]
mod tests {
    fn of_tests() {}
}
";

    fn at(code: &str) -> Place {
        let offset = SOURCE.find(code).expect(code);
        let position = |offset: usize| {
            let before = &SOURCE[..offset];
            let line = before.matches('\n').count() + 1;
            let column = offset - before.rfind('\n').map_or(0, |it| it + 1) + 1;
            (u64::try_from(line).unwrap(), u64::try_from(column).unwrap())
        };
        Place { start: position(offset), end: position(offset + code.len()) }
    }

    fn counts(refused: u64, failed: u64, closed: u64) -> FileCounts {
        let question_mark = at("?;");
        let question_mark =
            Place { end: (question_mark.end.0, question_mark.end.1 - 1), ..question_mark };
        FileCounts {
            regions: BTreeMap::from([
                (at("fn append(&self) -> Result<(), Error> {"), 9),
                (at("self.full"), 9),
                (at("self.closed"), 9),
                (at("warn();"), refused),
                (at("return Err(Error)"), refused),
                (at("self.write()"), 9),
                (question_mark, failed),
                (at("self.state"), 0),
                (at("fn close(&self) {"), closed),
                (at("self.sync();"), closed),
                (at("fn of_tests() {}"), 0),
            ]),
            branches: BTreeMap::from([
                (at("self.full"), [0, 9]),
                (at("self.closed"), [refused, 9 - refused]),
            ]),
        }
    }

    fn gaps(counts: &FileCounts) -> Vec<String> {
        let source = Source::parse(SOURCE.to_owned()).unwrap();
        let all = sites(Path::new("a.rs"), &source, counts);
        let gaps = all.iter().filter(|it| it.is_gap);
        gaps.map(|it| format!("{} {} {}", it.line, it.function, it.what)).collect()
    }

    #[test]
    fn code_that_never_ran_is_one_gap_and_its_condition_none() {
        let full = "3 Log::append never true: self.full";
        assert_eq!(
            gaps(&counts(0, 0, 0)),
            [
                "3 Log::append never run: warn(); return Err(Error);",
                "7 Log::append never fails: self.write()",
                "11 Log::close never called",
            ]
        );
        assert_eq!(gaps(&counts(1, 1, 1)), [full]);
    }

    #[test]
    fn sites_that_look_alike_are_numbered() {
        let source = "fn f() { g()?; g()?; }".to_owned();
        let question_mark = |column| Place { start: (1, column), end: (1, column + 1) };
        let regions = BTreeMap::from([(question_mark(13), 1), (question_mark(19), 0)]);
        let counts = FileCounts { regions, branches: BTreeMap::new() };
        let source = Source::parse(source).unwrap();
        let sites = sites(Path::new("a.rs"), &source, &counts);
        let gaps: Vec<_> = sites.iter().filter(|it| it.is_gap).map(Site::key).collect();
        assert_eq!(gaps, ["a.rs\tf\tnever fails: g()\t2"]);
    }
}
