//! Flags of the command.

use std::path::PathBuf;

use super::measurement::Measurement;
use super::part::Part;
use crate::process::Failed;
use crate::project::target;

/// Default number of needles of the part `index`, and that of a trial run.
const NEEDLES: (u64, u64) = (1_000_000, 100_000);

/// Flags of the command.
#[derive(Debug)]
pub struct Options {
    /// What is measured.
    pub measurement: Measurement,
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
    pub fn parse(measurement: Measurement, flags: &[&str]) -> Result<Self, Failed> {
        let (mut quick, mut parts, mut needles) = (false, Part::of(measurement).to_vec(), None);
        let mut dir = target().join(measurement.name());
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || {
                let value = flags.next();
                value.ok_or_else(|| Failed(format!("{flag} needs a value")))
            };
            match *flag {
                "--quick" => quick = true,
                "--only" => parts = only(measurement, value()?)?,
                "--needles" if measurement == Measurement::Compaction => {
                    needles = Some(crate::node::needles(&["--needles", value()?], 0)?)
                }
                "--dir" => dir = PathBuf::from(value()?),
                _ => {
                    let needles = match measurement {
                        Measurement::Compaction => ", --needles N",
                        Measurement::Health => "",
                    };
                    let known =
                        format!("the flags are --quick, --only PART,...{needles} and --dir DIR");
                    return Err(Failed(format!("unknown flag {flag}; {known}")));
                }
            }
        }
        let default = if quick { NEEDLES.1 } else { NEEDLES.0 };
        Ok(Self { measurement, quick, parts, needles: needles.unwrap_or(default), dir })
    }
}

/// Parses a list of parts; they run in the order of [`Part::of`].
fn only(measurement: Measurement, list: &str) -> Result<Vec<Part>, Failed> {
    let all = Part::of(measurement);
    let named = |name: &str| {
        let names: Vec<&str> = all.iter().map(|part| part.name()).collect();
        let names = names.join(", ");
        Part::named(measurement, name)
            .ok_or_else(|| Failed(format!("no part {name}; the parts are {names}")))
    };
    let wanted = list.split(',').map(named).collect::<Result<Vec<Part>, Failed>>()?;
    Ok(all.iter().copied().filter(|part| wanted.contains(part)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed_and_others_rejected() {
        let parse = |flags: &[&str]| Options::parse(Measurement::Compaction, flags);
        let all = parse(&[]).unwrap();
        assert_eq!((all.quick, all.parts.len(), all.needles), (false, 8, 1_000_000));
        let some = ["--quick", "--only", "refill,reads", "--dir", "/x"];
        let some = parse(&some).unwrap();
        assert_eq!(some.parts, [Part::Reads, Part::Refill]);
        assert_eq!((some.needles, some.dir), (100_000, PathBuf::from("/x")));
        let error = parse(&["--only", "read"]).unwrap_err().0;
        assert!(error.contains("no part read") && error.contains("refill"), "{error}");
        for wrong in [&["--only"][..], &["--needles", "x"], &["--fast"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let health = Options::parse(Measurement::Health, &["--only", "found"]).unwrap();
        assert_eq!(health.parts, [Part::Found]);
        for wrong in [&["--only", "reads"][..], &["--needles", "7"]] {
            assert!(Options::parse(Measurement::Health, wrong).is_err(), "{wrong:?}");
        }
    }
}
