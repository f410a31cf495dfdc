//! Options of the command.

use crate::areas::AREAS;

/// What is measured and listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only tests of these binaries (`lib` has the unit tests); of all if empty.
    pub tests: Vec<String>,
    /// Only these areas; all if empty.
    pub areas: Vec<String>,
    /// Adds to what earlier runs measured, as long as the sources are the same.
    pub add: bool,
    /// Runs no tests: lists again what earlier runs measured.
    pub list: bool,
}

impl Options {
    /// Parses flags; `None` if they are invalid.
    #[must_use]
    pub fn parse(args: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut names = || Some(args.next()?.split(',').map(str::to_owned));
            match *flag {
                "--tests" => options.tests.extend(names()?),
                "--area" => options.areas.extend(names()?),
                "--add" => options.add = true,
                "--list" => options.list = true,
                _ => return None,
            }
        }
        let is_known = |area: &String| AREAS.iter().any(|(name, _)| name == area);
        options.areas.iter().all(is_known).then_some(options)
    }

    /// Whether the result is that of all tests and areas, as of one run.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed_and_unknown_names_rejected() {
        assert!(Options::parse(&[]).is_some_and(|options| options.is_complete()));
        let options = Options::parse(&["--tests", "lib,crash", "--area", "ring", "--add"]).unwrap();
        assert_eq!(
            (options.tests, options.areas),
            (vec!["lib".to_owned(), "crash".to_owned()], vec!["ring".to_owned()])
        );
        for wrong in [&["--tests"][..], &["--area", "rings"], &["lib"]] {
            assert_eq!(Options::parse(wrong), None, "{wrong:?}");
        }
    }
}
