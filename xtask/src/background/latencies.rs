//! Longest latencies of each second, from a histogram log of the load generator.

use std::path::Path;

use crate::process::Failed;
use crate::record::cannot;

/// A second of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Second {
    /// Kind of operation.
    pub kind: String,
    /// Its begin (seconds since 1970).
    pub began: f64,
    /// Longest latency (milliseconds).
    pub max_ms: f64,
}

/// Reads the seconds of a log.
///
/// # Errors
/// When it cannot be read, or is not a log.
pub fn seconds(log: &Path) -> Result<Vec<Second>, Failed> {
    let text = std::fs::read_to_string(log).map_err(cannot("read", log))?;
    parse(&text).ok_or_else(|| Failed(format!("{} is not a histogram log", log.display())))
}

fn parse(text: &str) -> Option<Vec<Second>> {
    let base = text.lines().find_map(|line| line.strip_prefix("#[BaseTime: "))?;
    let base: f64 = base.split(' ').next()?.parse().ok()?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("Tag="));
    lines
        .map(|line| {
            let mut fields = line.split(',');
            let kind = fields.next()?.to_owned();
            let began = base + fields.next()?.parse::<f64>().ok()?;
            let max_ms = fields.nth(1)?.parse().ok()?;
            Some(Second { kind, began, max_ms })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_parsed() {
        let text = "#[Histogram log format version 1.3]\n#[StartTime: 1000.500 (seconds since epoch)]\n\
                    #[BaseTime: 1000.500 (seconds since epoch)]\nTag=get,0.000,1.000,3.25,HISTFAAA\n\
                    Tag=put,1.000,1.000,12,HISTFAAA\n";
        let get = Second { kind: "get".to_owned(), began: 1000.5, max_ms: 3.25 };
        let put = Second { kind: "put".to_owned(), began: 1001.5, max_ms: 12.0 };
        assert_eq!(parse(text), Some(vec![get, put]));
        assert_eq!(parse("nonsense"), None);
    }
}
