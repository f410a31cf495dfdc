//! A strict parser of OpenMetrics text, for tests: Prometheus accepts any text that it accepts.

use std::collections::BTreeMap;

/// Metadata of a metric: the lines before its samples.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
}

/// One sample line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// A parsed response of `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    families: BTreeMap<String, Family>,
    samples: Vec<Sample>,
}

impl Exposition {
    /// Parses `text` and checks the rules of every exposition: HELP and TYPE before the samples of a metric,
    /// suffixes by type, no duplicate sample, cumulative histograms that match their count, `# EOF` last.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        let mut current = String::new();
        let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                current = all.comment(comment)?.to_owned();
            } else {
                all.samples.push(sample(line).ok_or_else(|| format!("not a sample: {line}"))?);
                all.check_belongs(&current, line)?;
            }
        }
        all.check_unique()?;
        all.check_histograms()?;
        Ok(all)
    }

    fn comment<'a>(&mut self, comment: &'a str) -> Result<&'a str, String> {
        let mut words = comment.splitn(3, ' ');
        let (what, name, rest) = (words.next(), words.next(), words.next());
        let (Some(what), Some(name), Some(rest)) = (what, name, rest) else {
            return Err(format!("short comment: {comment}"));
        };
        match what {
            "HELP" => {
                let family = Family { kind: String::new(), help: rest.to_owned() };
                if self.families.insert(name.to_owned(), family).is_some() {
                    return Err(format!("{name} described twice"));
                }
            }
            "TYPE" => {
                let family =
                    self.families.get_mut(name).ok_or(format!("{name}: TYPE before HELP"))?;
                rest.clone_into(&mut family.kind);
            }
            "UNIT" if name.ends_with(&format!("_{rest}")) => {}
            _ => return Err(format!("unknown comment: {comment}")),
        }
        Ok(name)
    }

    fn check_belongs(&self, current: &str, line: &str) -> Result<(), String> {
        let sample = self.samples.last().expect("just pushed");
        let suffixes: &[&str] = match self.families.get(current).map(|f| f.kind.as_str()) {
            Some("counter") => &["_total"],
            Some("gauge") => &[""],
            Some("info") => &["_info"],
            Some("histogram") => &["_bucket", "_sum", "_count"],
            other => return Err(format!("{line}: type {other:?}")),
        };
        let fits = suffixes.iter().any(|s| sample.name == format!("{current}{s}"));
        if fits { Ok(()) } else { Err(format!("{line}: under {current}")) }
    }

    fn check_unique(&self) -> Result<(), String> {
        let mut keys: Vec<_> = self.samples.iter().map(|s| (&s.name, &s.labels)).collect();
        keys.sort();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("twice: {:?}", pair[0])),
            None => Ok(()),
        }
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut last: BTreeMap<(String, Vec<_>), (f64, f64)> = BTreeMap::new();
        for sample in &self.samples {
            let Some(family) = sample.name.strip_suffix("_bucket") else {
                continue;
            };
            let mut rest = sample.labels.clone();
            rest.retain(|(k, _)| k != "le");
            let le = sample.labels.iter().find(|(k, _)| k == "le").ok_or("a bucket without le")?;
            let le: f64 =
                le.1.replace("+Inf", "inf").parse().map_err(|e| format!("{le:?}: {e}"))?;
            let before = last.insert((family.to_owned(), rest), (le, sample.value));
            if before.is_some_and(|(l, v)| l >= le || v > sample.value) {
                return Err(format!("bucket not cumulative: {sample:?} after {before:?}"));
            }
        }
        for ((family, labels), (le, value)) in last {
            let count = self
                .samples
                .iter()
                .find(|s| s.name == format!("{family}_count") && s.labels == labels);
            if le != f64::INFINITY || count.is_none_or(|c| c.value != value) {
                return Err(format!(
                    "{family}{labels:?}: last bucket {le} is {value}, count {count:?}"
                ));
            }
        }
        Ok(())
    }

    /// Number of metrics with metadata.
    pub(crate) fn families(&self) -> usize {
        self.families.len()
    }

    /// Metadata of the metric whose samples have the name `name`.
    pub(crate) fn family_of(&self, name: &str) -> Option<&Family> {
        let bare = name.strip_suffix("_total").or_else(|| name.strip_suffix("_info"));
        self.families.get(bare.unwrap_or(name))
    }

    /// All samples with this name, in order.
    pub(crate) fn samples(&self, name: &str) -> Vec<&Sample> {
        self.samples.iter().filter(|s| s.name == name).collect()
    }

    /// Value of one sample; labels as `key=value,key=value`, in any order.
    pub(crate) fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let mut wanted: Vec<_> = labels.split(',').filter(|l| !l.is_empty()).collect();
        wanted.sort_unstable();
        self.samples(name).into_iter().find_map(|s| {
            let mut have: Vec<_> = s.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            have.sort_unstable();
            (have == wanted).then_some(s.value)
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        while !inner.starts_with('}') {
            let (key, after) = inner.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            inner = after.strip_prefix(',').unwrap_or(after);
        }
        rest = inner.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && !value.contains(' ')).then_some(())?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// Parses up to the closing quote and removes escapes. Returns the value and the text after the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                _ => return None,
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_b Text.\n# TYPE a_b counter\n";

    #[test]
    fn parser_rejects_what_prometheus_rejects() {
        let ok = format!("{HEAD}a_b_total{{x=\"1\"}} 2\n# EOF\n");
        assert_eq!(Exposition::parse(&ok).expect("fine").value("a_b_total", "x=1"), Some(2.0));
        let h = "# HELP h Text.\n# TYPE h histogram\n";
        for bad in [
            format!("{HEAD}a_b_total 2\n"),
            format!("{HEAD}a_b 2\n# EOF\n"),
            "a_b_total 2\n# EOF\n".to_owned(),
            "# TYPE a_b counter\na_b_total 2\n# EOF\n".to_owned(),
            format!("{HEAD}a_b_total 2\na_b_total 2\n# EOF\n"),
            format!("{HEAD}a_b_total x\n# EOF\n"),
            format!("{HEAD}a_b_total{{x=\"1}} 2\n# EOF\n"),
            format!("{HEAD}{HEAD}# EOF\n"),
            format!("{h}h_count 2\nh_bucket{{le=\"1\"}} 1\n# EOF\n"),
            format!("{h}h_count 2\nh_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 1\n# EOF\n"),
            format!("{h}h_count 1\nh_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 1\n# EOF\n"),
        ] {
            assert!(Exposition::parse(&bad).is_err(), "{bad}");
        }
    }
}
