//! Traces as comma-separated values. What is in which column, the caller says.

use std::io::Read;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::{Access, Action};

/// Names of operations, in lower case; the numbers are those of SCSI (READ and WRITE of 6, 10, 12 and 16).
const READS: &[&str] = &["r", "read", "get", "gets", "head", "08", "8", "28", "a8", "88"];
const WRITES: &[&str] =
    &["w", "write", "put", "set", "add", "post", "replace", "0a", "a", "2a", "aa", "8a"];
const DELETES: &[&str] = &["d", "delete", "del", "remove"];

/// The unit of the times in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

impl TimeUnit {
    fn nanos(self) -> f64 {
        match self {
            Self::S => 1e9,
            Self::Ms => 1e6,
            Self::Us => 1e3,
            Self::Ns => 1.0,
        }
    }
}

/// Which column holds what; columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    text: String,
    time: usize,
    id: usize,
    size: usize,
    op: Option<usize>,
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = || {
            format!(
                "{text:?}: write time=1,id=4,size=3 with the numbers of the columns, and op=2 if there is one"
            )
        };
        let [mut time, mut id, mut size, mut op] = [None; 4];
        for part in text.split(',') {
            let (name, column) = part.split_once('=').ok_or_else(advice)?;
            let column: usize =
                column.parse().ok().filter(|column| *column > 0).ok_or_else(advice)?;
            match name {
                "time" => time = Some(column),
                "id" => id = Some(column),
                "size" => size = Some(column),
                "op" => op = Some(column),
                _ => return Err(advice()),
            }
        }
        let (time, id, size) =
            (time.ok_or_else(advice)?, id.ok_or_else(advice)?, size.ok_or_else(advice)?);
        Ok(Self { text: text.to_owned(), time, id, size, op })
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The requests of a trace. A first line whose time is no number is taken for names of columns.
pub fn accesses<'a>(
    input: impl Read + 'a,
    columns: &'a Columns,
    unit: TimeUnit,
) -> impl Iterator<Item = Result<Access, String>> + 'a {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    (1_u64..).zip(reader.into_records()).filter_map(move |(line, record)| {
        let place = |error: String| format!("line {line}: {error}");
        let record = match record {
            Ok(record) => record,
            Err(error) => return Some(Err(place(error.to_string()))),
        };
        let is_title = line == 1
            && record.get(columns.time - 1).is_some_and(|time| time.parse::<f64>().is_err());
        (!is_title).then(|| access(&record, columns, unit).map_err(place))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and saturates"
)]
fn access(record: &csv::StringRecord, columns: &Columns, unit: TimeUnit) -> Result<Access, String> {
    let field = |name: &str, column: usize| {
        let found = record.get(column - 1).map(str::trim);
        found.ok_or_else(|| format!("there is no column {column} for {name}; see --columns"))
    };
    let number = |name: &str, column: usize| {
        let text = field(name, column)?;
        let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0);
        number.ok_or_else(|| format!("{text:?} is no {name}; see --columns"))
    };
    let action = match columns.op {
        None => Action::Read,
        Some(column) => {
            let op = field("op", column)?.to_ascii_lowercase();
            let is = |names: &[&str]| names.contains(&op.as_str());
            match () {
                () if is(READS) => Action::Read,
                () if is(WRITES) => Action::Write,
                () if is(DELETES) => Action::Delete,
                () => {
                    return Err(format!(
                        "{op:?} is no operation; leave op out of --columns to read all"
                    ));
                }
            }
        }
    };
    let id = field("id", columns.id)?;
    Ok(Access {
        time: (number("time", columns.time)? * unit.nanos()) as u64,
        id: id.parse().unwrap_or_else(|_| xxh3_64(id.as_bytes())),
        size: number("size", columns.size)? as u64,
        action,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, columns: &str, unit: TimeUnit) -> Vec<Result<Access, String>> {
        accesses(text.as_bytes(), &columns.parse().unwrap(), unit).collect()
    }

    #[test]
    fn columns_are_where_they_are_said_to_be() {
        let text =
            "version,time,op,size,lbn\n1,5633898,2a,512,42932745\n1,5633899,28,6656,40409911\n";
        let read = read(text, "time=2,op=3,size=4,id=5", TimeUnit::S);
        let first = Access {
            time: 5_633_898_000_000_000,
            id: 42_932_745,
            size: 512,
            action: Action::Write,
        };
        let second = Access {
            time: 5_633_899_000_000_000,
            id: 40_409_911,
            size: 6656,
            action: Action::Read,
        };
        assert_eq!(read, [Ok(first), Ok(second)]);
    }

    #[test]
    fn names_are_ids_too_and_times_have_units() {
        let read = read(
            "1.5,10,cat.jpg\n2,20,dog.jpg\n3,10,cat.jpg\n",
            "time=1,size=2,id=3",
            TimeUnit::Ms,
        );
        let read: Vec<Access> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read[0].time, 1_500_000);
        assert!(read[0].id == read[2].id && read[0].id != read[1].id);
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, words) in [
            ("1,r,5,a\nx,r,5,a\n", "line 2: \"x\" is no time"),
            ("1,r,5\n", "no column 4"),
            ("1,scrub,5,a\n", "\"scrub\" is no operation"),
            ("1,r,-5,a\n", "is no size"),
        ] {
            let error =
                read(text, "time=1,op=2,size=3,id=4", TimeUnit::S).pop().unwrap().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        for text in ["", "time=1", "time=0,id=1,size=2", "time=1,id=2,size=3,name=4", "time"] {
            assert!(text.parse::<Columns>().unwrap_err().contains("time=1,id=4"), "{text}");
        }
    }
}
