//! Traces as comma-separated values; the caller gives the meaning of the columns.

use std::io::BufRead;
use std::str::FromStr;

use clap::ValueEnum;
use csv_core::ReadRecordResult;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::access::{Access, Action};

/// Names of reads, in lower case; the numbers are SCSI operation codes (READ and WRITE of 6, 10, 12 and 16).
const READS: &[&str] = &["r", "read", "get", "gets", "head", "08", "8", "28", "a8", "88"];
/// Names of writes.
const WRITES: &[&str] =
    &["w", "write", "put", "set", "add", "post", "replace", "0a", "a", "2a", "aa", "8a"];
/// Names of deletes.
const DELETES: &[&str] = &["d", "delete", "del", "remove"];

/// Upper bound of times (nanoseconds) and sizes (bytes): 2^63. A larger number has another unit or column.
const NUMBER_MAX: f64 = 9_223_372_036_854_775_808.0;

/// Unit of the times in a trace.
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

/// Columns of a trace, counted from 1.
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
                "{text:?} is not valid; write column numbers as time=1,id=4,size=3, and op=2 if there is one"
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

/// Splits lines into fields. A record is exactly one line: trace fields contain no line breaks, and an
/// unclosed quote must not consume the rest of the file.
struct Splitter {
    reader: csv_core::Reader,
    /// Fields of the line, concatenated, and the end of each.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    /// Splits a line that ends with a line feed.
    fn split(&mut self, line: &str) -> Result<Fields<'_>, String> {
        self.text.resize(self.text.len().max(line.len()), 0);
        // A line of n bytes has at most n + 1 fields.
        self.ends.resize(self.ends.len().max(line.len() + 1), 0);
        let (result, taken, _, fields) =
            self.reader.read_record(line.as_bytes(), &mut self.text, &mut self.ends);
        match result {
            ReadRecordResult::Record if taken == line.len() => {
                Ok(Fields { text: &self.text, ends: &self.ends[..fields] })
            }
            ReadRecordResult::Record => {
                Err("the line contains a carriage return; end lines with line feeds".to_owned())
            }
            _ => {
                self.reader.reset();
                Err("a quote is not closed; close it, or write two for a literal quote".to_owned())
            }
        }
    }
}

/// Fields of a line.
struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// Text of a column, trimmed.
    fn get(&self, column: usize) -> Option<&'a str> {
        let end = *self.ends.get(column - 1)?;
        let start = if column > 1 { self.ends[column - 2] } else { 0 };
        std::str::from_utf8(&self.text[start..end]).ok().map(str::trim)
    }
}

/// Requests of a trace. The first line is taken as the header if the columns of time, size and object are
/// words in it.
pub fn accesses<'a>(
    mut input: impl BufRead + 'a,
    columns: &'a Columns,
    unit: TimeUnit,
) -> impl Iterator<Item = Result<Access, String>> + 'a {
    let mut splitter =
        Splitter { reader: csv_core::Reader::new(), text: Vec::new(), ends: Vec::new() };
    let (mut line, mut number) = (String::new(), 0_u64);
    std::iter::from_fn(move || {
        loop {
            line.clear();
            number += 1;
            let with_location = |error: String| format!("line {number}: {error}");
            match input.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(with_location(error.to_string()))),
            }
            let len = line.strip_suffix('\n').unwrap_or(&line).trim_end_matches('\r').len();
            if len == 0 {
                continue;
            }
            line.truncate(len);
            line.push('\n');
            match splitter.split(&line) {
                Ok(fields) if number == 1 && is_header(&fields, columns) => {}
                Ok(fields) => return Some(access(&fields, columns, unit).map_err(with_location)),
                Err(error) => return Some(Err(with_location(error))),
            }
        }
    })
}

fn is_header(fields: &Fields<'_>, columns: &Columns) -> bool {
    let is_word = |text: &str| !text.is_empty() && text.parse::<f64>().is_err();
    [columns.time, columns.size, columns.id]
        .iter()
        .all(|column| fields.get(*column).is_some_and(is_word))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and below 2^63"
)]
fn access(fields: &Fields<'_>, columns: &Columns, unit: TimeUnit) -> Result<Access, String> {
    let field = |name: &str, column: usize| {
        let found = fields.get(column);
        found.ok_or_else(|| format!("the line has no column {column} for {name}; check --columns"))
    };
    let number = |name: &str, column: usize| {
        let text = field(name, column)?;
        let number = text.parse().ok().filter(|number| (0.0..f64::INFINITY).contains(number));
        let number =
            number.ok_or_else(|| format!("{text:?} is not a valid {name}; check --columns"));
        number.map(|number: f64| (text, number))
    };
    let (text, time) = number("time", columns.time)?;
    let time = time * unit.nanos();
    if time >= NUMBER_MAX {
        let unit =
            unit.to_possible_value().map_or_else(String::new, |unit| unit.get_name().to_owned());
        return Err(format!(
            "{text:?} is out of range for a time in {unit}; check --time-unit and --columns"
        ));
    }
    let (text, size) = number("size", columns.size)?;
    if size >= NUMBER_MAX {
        return Err(format!("{text:?} is not a valid size; check --columns"));
    }
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
                        "{op:?} is not a known operation; leave op out of --columns to treat all as reads"
                    ));
                }
            }
        }
    };
    let id = field("id", columns.id)?;
    Ok(Access {
        time: time as u64,
        id: id.parse().unwrap_or_else(|_| xxh3_64(id.as_bytes())),
        size: size as u64,
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
    fn columns_are_assigned_by_number() {
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
    fn ids_may_be_names_and_times_have_units() {
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
    fn a_first_line_of_padded_numbers_is_not_a_header() {
        let columns = "time=1,op=2,size=3,id=4";
        let text = " 1 , r , 5 , \"a \"\"b\"\"\"\n2,r,5,a\n";
        assert_eq!(read(text, columns, TimeUnit::S).len(), 2);
        assert_eq!(read("time, op, size, id\n1,r,5,a", columns, TimeUnit::S).len(), 1);
        let ids: Vec<u64> = read("1,r,5,\"a,\"\"b\"\n1,r,5,\"a,\"\"b\"\n", columns, TimeUnit::S)
            .into_iter()
            .map(|access| access.unwrap().id)
            .collect();
        assert_eq!(ids, [xxh3_64(b"a,\"b"); 2]);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, words) in [
            ("1,r,5,a\nx,r,5,a\n", "line 2: \"x\" is not a valid time"),
            ("1,r,5\n", "no column 4"),
            ("1,scrub,5,a\n", "\"scrub\" is not a known operation"),
            ("1,r,-5,a\n", "is not a valid size"),
            ("1,r,1e300,a\n", "\"1e300\" is not a valid size"),
            ("1,r,5,a\ninf,r,5,a\n", "line 2: \"inf\" is not a valid time"),
            ("1,r,5,a\nnan,r,5,a\n", "line 2: \"nan\" is not a valid time"),
            ("1700000000000,r,5,a\n", "--time-unit"),
            ("1,r,5,a\n1e300,r,5,a\n", "line 2: \"1e300\" is out of range"),
            // Line numbers are those of the file, with any line ending and empty lines.
            (
                "time,op,size,id\r\n1,r,5,a\r\n\r\n\n2,r,x,b\r\n",
                "line 5: \"x\" is not a valid size",
            ),
            ("1,r,5,a\n2,r,5,\"b\n3,r,5,c\n4,r,5,d\n", "line 2: a quote is not closed"),
            // A header has words in all columns; other first lines are damaged.
            ("x,r,5,a\n1,r,5,a\n", "line 1: \"x\" is not a valid time"),
            ("time,op,size,7\n1,r,5,a\n", "line 1: \"time\" is not a valid time"),
            (",,,\n1,r,5,a\n", "line 1: \"\" is not a valid time"),
        ] {
            let read = read(text, "time=1,op=2,size=3,id=4", TimeUnit::S);
            let error = read.into_iter().find_map(Result::err).expect(text);
            assert!(error.contains(words), "{error}");
        }
        for text in ["", "time=1", "time=0,id=1,size=2", "time=1,id=2,size=3,name=4", "time"] {
            assert!(text.parse::<Columns>().unwrap_err().contains("time=1,id=4"), "{text}");
        }
    }
}
