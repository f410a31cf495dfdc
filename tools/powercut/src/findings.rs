//! Violations found in one state.

use crate::compaction::files::VolumeFiles;

/// Violations found in one state.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Acknowledged writes that were checked.
    pub checked: u64,
    pub lost: Vec<String>,
    pub wrong: Vec<String>,
    /// Other violations.
    pub trouble: Vec<String>,
    /// Volume files before the start.
    pub files: VolumeFiles,
}

impl Findings {
    /// Adds what was found afterwards.
    pub fn add(&mut self, after: Self) {
        self.checked += after.checked;
        self.lost.extend(after.lost);
        self.wrong.extend(after.wrong);
        self.trouble.extend(after.trouble);
        self.files = after.files;
    }

    /// Whether there is no violation.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.wrong.is_empty() && self.trouble.is_empty()
    }

    pub fn lines(&self) -> impl Iterator<Item = String> {
        let kinds = [("lost", &self.lost), ("wrong", &self.wrong), ("trouble", &self.trouble)];
        kinds
            .into_iter()
            .flat_map(|(kind, texts)| texts.iter().map(move |text| format!("{kind}: {text}")))
    }
}
