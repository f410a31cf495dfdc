//! Source files without their tests.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn};

/// A source file without its tests.
///
/// # Errors
/// When it is no Rust.
pub fn without_tests(source: &str) -> Result<String, syn::Error> {
    struct Tests(Vec<Range<usize>>);
    impl<'ast> Visit<'ast> for Tests {
        fn visit_item(&mut self, item: &'ast syn::Item) {
            let attrs = match item {
                syn::Item::Mod(item) => &item.attrs,
                syn::Item::Fn(item) => &item.attrs,
                syn::Item::Use(item) => &item.attrs,
                syn::Item::Impl(item) => &item.attrs,
                _ => return,
            };
            match is_test(attrs) {
                true => self.0.push(range(item.span())),
                false => visit::visit_item(self, item),
            }
        }
        fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
            if is_test(&item.attrs) {
                self.0.push(range(item.span()));
            }
        }
        fn visit_block(&mut self, _: &'ast Block) {}
    }
    let mut tests = Tests(Vec::new());
    tests.visit_file(&syn::parse_file(source)?);
    let (mut text, mut at) = (String::with_capacity(source.len()), 0);
    for range in tests.0 {
        text.push_str(&source[at..range.start]);
        at = range.end;
    }
    Ok(text + &source[at..])
}

/// Bytes of the file.
pub(super) fn range(span: Span) -> Range<usize> {
    span.byte_range()
}

/// `#[test]`, or only in builds for tests.
pub(super) fn is_test(attrs: &[syn::Attribute]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_and_functions_are_removed() {
        let source = "fn f() { g() }\n#[cfg(test)]\nmod tests { fn h() {} }\n\
                      mod m { #[test] fn i() {} fn j() {} }";
        assert_eq!(without_tests(source).unwrap(), "fn f() { g() }\n\nmod m {  fn j() {} }");
    }
}
