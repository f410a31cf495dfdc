//! Traces as comma-separated values. What is in which column, the caller says.

use std::io::BufRead;
use std::str::FromStr;

use clap::ValueEnum;
use csv_core::ReadRecordResult;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::access::{Access, Action};

/// Names of operations, in lower case; the numbers are those of SCSI (READ and WRITE of 6, 10, 12 and 16).
const READS: &[&str] = &["r", "read", "get", "gets", "head", "08", "8", "28", "a8", "88"];
const WRITES: &[&str] =
    &["w", "write", "put", "set", "add", "post", "replace", "0a", "a", "2a", "aa", "8a"];
const DELETES: &[&str] = &["d", "delete", "del", "remove"];

/// No time (nanoseconds) and no size (bytes) is as large (2^63): such a number is of another unit or column.
const NUMBER_MAX: f64 = 9_223_372_036_854_775_808.0;

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

/// Splits lines into fields. A line is all of a record: none of what a trace tells has line breaks in it, and
/// a quote that is never closed must not take the rest of the file with it.
struct Splitter {
    reader: csv_core::Reader,
    /// The fields, one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    /// Splits a line that ends with a line feed.
    fn split(&mut self, line: &str) -> Result<Fields<'_>, String> {
        self.text.resize(self.text.len().max(line.len()), 0);
        // So many fields and one more can be on it.
        self.ends.resize(self.ends.len().max(line.len() + 1), 0);
        let (result, taken, _, fields) =
            self.reader.read_record(line.as_bytes(), &mut self.text, &mut self.ends);
        match result {
            ReadRecordResult::Record if taken == line.len() => {
                Ok(Fields { text: &self.text, ends: &self.ends[..fields] })
            }
            ReadRecordResult::Record => {
                Err("a carriage return stands in it; end lines with line feeds".to_owned())
            }
            _ => {
                self.reader.reset();
                Err("a quote is not closed; close it, or write two for one that is meant"
                    .to_owned())
            }
        }
    }
}

/// The fields of a line.
struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// What stands in a column, without blanks around it.
    fn get(&self, column: usize) -> Option<&'a str> {
        let end = *self.ends.get(column - 1)?;
        let start = if column > 1 { self.ends[column - 2] } else { 0 };
        std::str::from_utf8(&self.text[start..end]).ok().map(str::trim)
    }
}

/// The requests of a trace. A first line is taken for names of columns if time, size and object are words
/// there.
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
            let place = |error: String| format!("line {number}: {error}");
            match input.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(place(error.to_string()))),
            }
            let len = line.strip_suffix('\n').unwrap_or(&line).trim_end_matches('\r').len();
            if len == 0 {
                continue;
            }
            line.truncate(len);
            line.push('\n');
            match splitter.split(&line) {
                Ok(fields) if number == 1 && is_title(&fields, columns) => {}
                Ok(fields) => return Some(access(&fields, columns, unit).map_err(place)),
                Err(error) => return Some(Err(place(error))),
            }
        }
    })
}

fn is_title(fields: &Fields<'_>, columns: &Columns) -> bool {
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
        found.ok_or_else(|| format!("there is no column {column} for {name}; see --columns"))
    };
    let number = |name: &str, column: usize| {
        let text = field(name, column)?;
        let number = text.parse().ok().filter(|number| (0.0..f64::INFINITY).contains(number));
        let number = number.ok_or_else(|| format!("{text:?} is no {name}; see --columns"));
        number.map(|number: f64| (text, number))
    };
    let (text, time) = number("time", columns.time)?;
    let time = time * unit.nanos();
    if time >= NUMBER_MAX {
        let unit =
            unit.to_possible_value().map_or_else(String::new, |unit| unit.get_name().to_owned());
        return Err(format!(
            "{text:?} is too late for a time in {unit}; see --time-unit and --columns"
        ));
    }
    let (text, size) = number("size", columns.size)?;
    if size >= NUMBER_MAX {
        return Err(format!("{text:?} is no size; see --columns"));
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
                        "{op:?} is no operation; leave op out of --columns to read all"
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
    fn a_first_line_with_blanks_before_its_numbers_is_no_title() {
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
    fn what_cannot_be_read_names_its_line() {
        for (text, words) in [
            ("1,r,5,a\nx,r,5,a\n", "line 2: \"x\" is no time"),
            ("1,r,5\n", "no column 4"),
            ("1,scrub,5,a\n", "\"scrub\" is no operation"),
            ("1,r,-5,a\n", "is no size"),
            ("1,r,1e300,a\n", "\"1e300\" is no size"),
            ("1,r,5,a\ninf,r,5,a\n", "line 2: \"inf\" is no time"),
            ("1,r,5,a\nnan,r,5,a\n", "line 2: \"nan\" is no time"),
            ("1700000000000,r,5,a\n", "--time-unit"),
            ("1,r,5,a\n1e300,r,5,a\n", "line 2: \"1e300\" is too late"),
            // Lines are those of the file, whatever ends them and however many hold nothing.
            ("time,op,size,id\r\n1,r,5,a\r\n\r\n\n2,r,x,b\r\n", "line 5: \"x\" is no size"),
            ("1,r,5,a\n2,r,5,\"b\n3,r,5,c\n4,r,5,d\n", "line 2: a quote is not closed"),
            // Titles are words in all columns; what else begins a file is damaged.
            ("x,r,5,a\n1,r,5,a\n", "line 1: \"x\" is no time"),
            ("time,op,size,7\n1,r,5,a\n", "line 1: \"time\" is no time"),
            (",,,\n1,r,5,a\n", "line 1: \"\" is no time"),
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
