//! Which mistakes are made.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::candidate::Candidate;
use super::diff::changed_lines;
use crate::areas::AREAS;
use crate::process::Failed;

/// What the command is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only these files, or files below these directories.
    pub files: Vec<PathBuf>,
    /// Only lines that differ from this commit.
    pub changed: Option<String>,
    /// At most this many of each area, evenly spread; all if nothing.
    pub sample: Option<Sample>,
    /// Decides which ones.
    pub seed: usize,
    /// Tests of one mistake are not begun after this long.
    pub budget: Duration,
    /// Only tests of these binaries (`lib` has the unit tests); of all if empty.
    pub tests: Vec<String>,
    /// Tests that take longer are left out.
    pub longest: Duration,
    /// Mistakes that are tried at a time.
    pub jobs: usize,
    /// Only list them.
    pub list: bool,
    /// Of those tried before, only the ones that were not noticed are tried again; the others count as
    /// noticed, also when sources or tests have changed since.
    pub survivors: bool,
}

/// How many mistakes of each area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The same of each.
    OfEach(usize),
    /// So many of each, by its name.
    Named(BTreeMap<String, usize>),
}

impl Sample {
    /// Reads `N` or `AREA=N,...`.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(each) = text.parse() {
            return (each > 0).then_some(Self::OfEach(each));
        }
        let named = text.split(',').map(|part| {
            let (name, count) = part.split_once('=')?;
            let known = AREAS.iter().any(|(area, _)| *area == name);
            let count: usize = count.parse().ok().filter(|count| *count > 0)?;
            known.then(|| (name.to_owned(), count))
        });
        named.collect::<Option<_>>().map(Self::Named)
    }

    fn of(&self, area: &str) -> usize {
        match self {
            Self::OfEach(each) => *each,
            Self::Named(named) => named.get(area).copied().unwrap_or(0),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfEach(each) => write!(f, "{each} of each part"),
            Self::Named(named) => {
                let named: Vec<_> =
                    named.iter().map(|(name, n)| format!("{n} of {name}")).collect();
                f.write_str(&named.join(", "))
            }
        }
    }
}

impl Options {
    /// Reads flags; nothing if they make no sense.
    #[must_use]
    pub fn parse(args: &[&str]) -> Option<Self> {
        let mut options = Self {
            files: Vec::new(),
            changed: None,
            sample: None,
            seed: 0,
            budget: Duration::from_secs(60),
            tests: Vec::new(),
            longest: Duration::from_secs(300),
            jobs: 2,
            list: false,
            survivors: false,
        };
        let mut args = args.iter().copied().peekable();
        while let Some(flag) = args.next() {
            match flag {
                "--list" => options.list = true,
                "--survivors" => options.survivors = true,
                "--changed" => {
                    let base = args.next_if(|next| !next.starts_with("--")).unwrap_or("HEAD~1");
                    options.changed = Some(base.to_owned());
                }
                "--file" => options.files.push(args.next()?.into()),
                "--sample" => options.sample = Some(Sample::parse(args.next()?)?),
                "--seed" => options.seed = args.next()?.parse().ok()?,
                "--budget" => options.budget = Duration::from_secs(args.next()?.parse().ok()?),
                "--tests" => options.tests.extend(args.next()?.split(',').map(str::to_owned)),
                "--longest" => options.longest = Duration::from_secs(args.next()?.parse().ok()?),
                "--jobs" => options.jobs = args.next()?.parse().ok().filter(|n| *n > 0)?,
                _ => return None,
            }
        }
        Some(options)
    }

    /// Which mistakes are made, in words.
    #[must_use]
    pub fn which(&self) -> String {
        match &self.sample {
            _ if self.survivors => "Those tried before, and again what was not noticed".to_owned(),
            Some(sample) => format!("Sample: {sample}, seed {}", self.seed),
            None => "All".to_owned(),
        }
    }

    /// Which tests are run, in words.
    #[must_use]
    pub fn which_tests(&self) -> String {
        let longest = self.longest.as_secs();
        let of = match self.tests.is_empty() {
            true => "tests".to_owned(),
            false => format!("tests of {}", self.tests.join(", ")),
        };
        format!("{of} that take {longest} s at most")
    }

    /// Chooses: positions in `all`.
    ///
    /// # Errors
    /// When git does not say what has changed, or a file is named that has none.
    pub fn choose(&self, all: &[Candidate]) -> Result<Vec<u32>, Failed> {
        if let Some(unknown) =
            self.files.iter().find(|file| !all.iter().any(|it| it.file.starts_with(file)))
        {
            let why =
                "no mistake can be made there; name a source file or directory such as src/volume";
            return Err(Failed(format!("{}: {why}", unknown.display())));
        }
        let lines = self.changed.as_ref().map(|base| changed_lines(base)).transpose()?;
        let is_chosen = |it: &Candidate| {
            let changed =
                |ranges: &Vec<Range<usize>>| ranges.iter().any(|lines| lines.contains(&it.line));
            (self.files.is_empty() || self.files.iter().any(|file| it.file.starts_with(file)))
                && lines.as_ref().is_none_or(|lines| lines.get(&it.file).is_some_and(changed))
        };
        let mut areas: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (number, it) in (0..).zip(all).filter(|(_, it)| is_chosen(it)) {
            areas.entry(it.area).or_default().push(number);
        }
        let some = areas.into_iter().flat_map(|(area, all)| match &self.sample {
            Some(sample) => evenly(all, sample.of(area), self.seed),
            None => all,
        });
        Ok(some.collect())
    }
}

/// At most `sample` of them, evenly spread, beginning at a place that the seed decides.
fn evenly<T>(all: Vec<T>, sample: usize, seed: usize) -> Vec<T> {
    let count = all.len();
    if count <= sample {
        return all;
    }
    let offset = seed * 7919 % count;
    let mut chosen = vec![false; count];
    for n in 0..sample {
        chosen[(offset + n * count / sample) % count] = true;
    }
    all.into_iter().zip(chosen).filter_map(|(it, chosen)| chosen.then_some(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_is_evenly_spaced_and_depends_on_the_seed() {
        let sample = |seed| evenly((0..1000).collect(), 10, seed);
        assert_eq!(sample(0), [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(sample(1).len(), 10);
        assert_ne!(sample(0), sample(1));
        assert_eq!(evenly(vec![1, 2], 10, 3), [1, 2]);
    }

    #[test]
    fn flags_are_parsed_and_invalid_ones_rejected() {
        let options =
            Options::parse(&["--changed", "--sample", "5", "--file", "src/http"]).unwrap();
        assert_eq!(options.changed.as_deref(), Some("HEAD~1"));
        assert_eq!((options.sample, options.files.len()), (Some(Sample::OfEach(5)), 1));
        let options = Options::parse(&["--sample", "http=3,ring=4", "--survivors"]).unwrap();
        let sample = options.sample.unwrap();
        assert_eq!((sample.of("http"), sample.of("ring"), sample.of("volume")), (3, 4, 0));
        assert!(options.survivors);
        assert_eq!(
            Options::parse(&["--changed", "main"]).unwrap().changed.as_deref(),
            Some("main")
        );
        for wrong in [&["--sample"][..], &["--sample", "0"], &["--sample", "htp=3"], &["--speed"]] {
            assert_eq!(Options::parse(wrong), None, "{wrong:?}");
        }
    }
}
