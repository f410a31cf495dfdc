//! Questions about the syntax trees of the sources.

use std::ops::Range;

use proc_macro2::Span;

/// Bytes of the file that a span covers.
#[must_use]
pub fn range(span: Span) -> Range<usize> {
    span.byte_range()
}

/// Whether an item is a test, or exists only in builds for tests.
#[must_use]
pub fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let mut text = String::new();
        if let syn::Meta::List(list) = &attr.meta {
            text = list.tokens.to_string();
        }
        attr.path().is_ident("test")
            || (attr.path().is_ident("cfg")
                && (text == "test" || text.starts_with("all (test") || text == "loom"))
    })
}
