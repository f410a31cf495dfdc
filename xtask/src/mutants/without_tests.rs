//! Source files without their tests.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn};

use crate::syntax::{is_test, range};

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
