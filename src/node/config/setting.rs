//! Positions of the settings in the text of a configuration file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A key of the document, with its section, and the positions of key and value (byte offsets).
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value_span: Range<usize>,
}

/// Returns all settings and sections of a document; the settings of a section precede the section.
pub(super) fn settings_of(root: &DeTable<'_>) -> Vec<Setting> {
    let mut settings = Vec::new();
    collect(root, "", &mut settings);
    settings
}

fn collect(table: &DeTable<'_>, section: &str, settings: &mut Vec<Setting>) {
    for (name, value) in table {
        let key = format!("{section}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect(inner, &format!("{key}."), settings);
        }
        settings.push(Setting { key, key_span: name.span(), value_span: value.span() });
    }
}
