//! Trace of Tencent's photo cache (Zhou et al., "Demystifying cache policies for photo stores at scale: a
//! Tencent case study", ICS 2018), as published by SNIA. Lines have eight fields separated by blanks: time
//! (YYYYMMDDHHMMSS), checksum that identifies the photo, format (0 or 5; others mark errors), size variant,
//! bytes returned, hit or miss, terminal, and response time.

use std::io::{BufRead, BufReader, Read};

use xxhash_rust::xxh3::xxh3_64;

use super::access::{Access, Action};

/// Photo formats; lines with other values are skipped.
const FORMATS: [&str; 2] = ["0", "5"];

/// Requests of a trace. Photo, format and variant together identify an object.
pub fn accesses(input: impl Read) -> impl Iterator<Item = Result<Access, String>> {
    (1_u64..).zip(BufReader::new(input).lines()).filter_map(|(number, line)| {
        let with_location = |error: String| format!("line {number}: {error}");
        match line {
            Ok(line) => access(&line).map_err(with_location).transpose(),
            Err(error) => Some(Err(with_location(error.to_string()))),
        }
    })
}

fn access(line: &str) -> Result<Option<Access>, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.is_empty() {
        return Ok(None);
    }
    let [time, photo, format, variant, size, ..] = fields[..] else {
        return Err(
            "the line has fewer than five fields; the file is not a Tencent photo trace".to_owned()
        );
    };
    if !FORMATS.contains(&format) {
        return Ok(None);
    }
    let size = size.parse().map_err(|_| format!("{size:?} is not a valid size"))?;
    let id = xxh3_64(format!("{photo} {format} {variant}").as_bytes());
    Ok(Some(Access { time: seconds(time)? * 1_000_000_000, id, size, action: Action::Read }))
}

/// Converts YYYYMMDDHHMMSS to seconds since 1970. Years begin on the first of March, so that the leap day
/// comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn seconds(text: &str) -> Result<u64, String> {
    let bad =
        || format!("{text:?} is not a valid time; it must be YYYYMMDDHHMMSS, from 1970 to 2399");
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let part = |range: std::ops::Range<usize>| {
        text[range].parse::<u64>().expect("only digits: checked above")
    };
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    if !(1970..2400).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(bad());
    }
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let since_march_0 = years * 365 + years / 4 - years / 100 + years / 400;
    let days = since_march_0 + (153 * months + 2) / 5 + day - 1 - 719_468;
    Ok(((days * 24 + part(8..10)) * 60 + part(10..12)) * 60 + part(12..14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_requests_and_error_lines_are_skipped() {
        let text = "20160201164604 085abb02a06850729bb01479466420d9e102d325 5 m 12903 1 PHONE 1\n\
                    20160201164705 085abb02a06850729bb01479466420d9e102d325 5 l 900 0 PC 0\n\
                    20160201164705 085abb02a06850729bb01479466420d9e102d325 3 l 900 0 PC 0\n\n\
                    20160201164706 085abb02a06850729bb01479466420d9e102d325 5 m 12903 1 PC 0\n";
        let read: Vec<Access> = accesses(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(
            read.iter().map(|access| access.size).collect::<Vec<_>>(),
            [12_903, 900, 12_903]
        );
        assert_eq!(
            (read[1].time - read[0].time, read[2].time - read[1].time),
            (61_000_000_000, 1_000_000_000)
        );
        assert!(
            read[0].id == read[2].id && read[0].id != read[1].id,
            "variants are distinct objects"
        );
    }

    #[test]
    fn times_are_converted_to_seconds_since_1970() {
        for (text, expected) in [
            ("19700101000000", 0),
            ("20000229235959", 951_868_799),
            ("20160201164604", 1_454_345_164),
            ("21000301000000", 4_107_542_400),
        ] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in [
            "1970010100000",
            "20161301000000",
            "20160100000000",
            "24000101000000",
            "x9700101000000",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_lines_are_rejected() {
        for (line, words) in [
            ("1 2 3", "fewer than five"),
            ("2016 a 5 m 1", "not a valid time"),
            ("20160201164604 a 5 m x", "not a valid size"),
        ] {
            let error = accesses(line.as_bytes()).next().unwrap().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
