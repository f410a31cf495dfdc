//! Reasons why no test reaches a site, from `reasons.tsv`.

use std::collections::BTreeMap;

use super::site::Site;

/// Each line has the key of a site ([`Site::key`]) and the reason, separated by a tab.
const REASONS: &str = include_str!("reasons.tsv");

/// Reasons by the key of their site.
pub type Reasons = BTreeMap<&'static str, &'static str>;

/// Reads the reasons.
#[must_use]
pub fn reasons() -> Reasons {
    lines().filter_map(|line| line.rsplit_once('\t')).collect()
}

fn lines() -> impl Iterator<Item = &'static str> {
    REASONS.lines().filter(|line| !line.starts_with('#'))
}

/// Keys with a reason but without a site, and of sites that a test reached, in this order.
#[must_use]
pub fn outdated(reasons: &Reasons, sites: &[Site]) -> (Vec<&'static str>, Vec<&'static str>) {
    let known: BTreeMap<String, bool> = sites.iter().map(|it| (it.key(), it.is_gap)).collect();
    let keys = || reasons.keys().copied();
    let unknown = keys().filter(|key| !known.contains_key(*key)).collect();
    let reached = keys().filter(|key| known.get(*key) == Some(&false)).collect();
    (unknown, reached)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::site::Event;
    use super::super::source::Source;
    use super::*;
    use crate::project::root;

    #[test]
    fn every_reason_is_of_code_that_exists() {
        for line in lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [file, function, what, nth, reason] = fields[..] else {
                panic!("not five fields: {line}");
            };
            assert!(nth.parse::<usize>().is_ok() && !reason.is_empty(), "{line}");
            let text = std::fs::read_to_string(root().join(file)).expect(line);
            let source = Source::parse(text).expect(line);
            let code = what.split_once(": ").map_or("", |(_, code)| code);
            let functions = source.code_of_function(function);
            assert!(functions.iter().any(|it| it.contains(code)), "no such code: {line}");
        }
        assert_eq!(reasons().len(), lines().count(), "a site has two reasons");
    }

    #[test]
    fn reasons_of_sites_that_are_gone_or_reached_are_outdated() {
        let site = |what: &str, is_gap: bool| Site {
            file: PathBuf::from("a.rs"),
            line: 1,
            function: "f".to_owned(),
            event: Event::Run,
            is_seen: !is_gap,
            what: what.to_owned(),
            nth: 1,
            is_gap,
        };
        let sites = [site("never run: a", true), site("never run: b", false)];
        let keys =
            ["a.rs\tf\tnever run: a\t1", "a.rs\tf\tnever run: b\t1", "a.rs\tf\tnever run: c\t1"];
        let reasons = keys.into_iter().map(|key| (key, "because")).collect();
        assert_eq!(outdated(&reasons, &sites), (vec![keys[2]], vec![keys[1]]));
    }
}
