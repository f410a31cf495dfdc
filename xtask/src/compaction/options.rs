//! Flags of the command.

use std::path::PathBuf;

use super::part::Part;
use crate::process::Failed;
use crate::project::target;

/// Default number of needles of the part `index`, and that of a trial run.
const NEEDLES: (u64, u64) = (1_000_000, 100_000);

/// Flags of the command.
#[derive(Debug)]
pub struct Options {
    /// Whether it is a trial run.
    pub quick: bool,
    /// Parts to run.
    pub parts: Vec<Part>,
    /// Number of needles of the part `index`.
    pub needles: u64,
    /// Directory for the images of the file systems.
    pub dir: PathBuf,
}

impl Options {
    /// Parses the flags.
    ///
    /// # Errors
    /// When a flag is unknown or its value invalid.
    pub fn parse(flags: &[&str]) -> Result<Self, Failed> {
        let (mut quick, mut parts, mut needles) = (false, Part::ALL.to_vec(), None);
        let mut dir = target().join("compaction");
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || {
                let value = flags.next();
                value.ok_or_else(|| Failed(format!("{flag} needs a value")))
            };
            match *flag {
                "--quick" => quick = true,
                "--only" => parts = only(value()?)?,
                "--needles" => needles = Some(crate::node::needles(&["--needles", value()?], 0)?),
                "--dir" => dir = PathBuf::from(value()?),
                _ => {
                    let known = "the flags are --quick, --only PART,..., --needles N and --dir DIR";
                    return Err(Failed(format!("unknown flag {flag}; {known}")));
                }
            }
        }
        let default = if quick { NEEDLES.1 } else { NEEDLES.0 };
        Ok(Self { quick, parts, needles: needles.unwrap_or(default), dir })
    }
}

/// Parses a list of parts; they run in the order of [`Part::ALL`].
fn only(list: &str) -> Result<Vec<Part>, Failed> {
    let named = |name: &str| {
        let names = Part::ALL.map(Part::name).join(", ");
        Part::named(name).ok_or_else(|| Failed(format!("no part {name}; the parts are {names}")))
    };
    let wanted = list.split(',').map(named).collect::<Result<Vec<Part>, Failed>>()?;
    Ok(Part::ALL.into_iter().filter(|part| wanted.contains(part)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed_and_others_rejected() {
        let all = Options::parse(&[]).unwrap();
        assert_eq!((all.quick, all.parts.len(), all.needles), (false, 8, 1_000_000));
        let some = ["--quick", "--only", "refill,reads", "--dir", "/x"];
        let some = Options::parse(&some).unwrap();
        assert_eq!(some.parts, [Part::Reads, Part::Refill]);
        assert_eq!((some.needles, some.dir), (100_000, PathBuf::from("/x")));
        let error = Options::parse(&["--only", "read"]).unwrap_err().0;
        assert!(error.contains("no part read") && error.contains("refill"), "{error}");
        for wrong in [&["--only"][..], &["--needles", "x"], &["--fast"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
