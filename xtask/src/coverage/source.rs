//! What the syntax of a source file says about its regions: which belong together, and which decide nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, Pat, Type, UnOp};

use crate::syntax::{is_test, range};

/// Macros that state what always holds. That they fail is not expected of any test.
const ASSERTIONS: [&str; 8] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "panic",
    "unreachable",
];
/// Function that asks whether a deliberate mistake is enabled (`src/base/sabotage.rs`).
const SABOTAGE: &str = "chosen";

/// Code that runs as a whole or not at all: a function, a block, an arm, a closure, a second operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the code.
    pub code: Range<usize>,
    /// Bytes to name it by: with its pattern, for example.
    pub shown: Range<usize>,
    /// Whether it is a function.
    pub is_function: bool,
}

/// A condition and the code that runs when it has one of its two results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// Bytes of the condition.
    pub condition: Range<usize>,
    /// The result.
    pub result: bool,
    /// Bytes of the code that runs then.
    pub code: Range<usize>,
}

/// A source file with its syntax.
pub struct Source {
    text: String,
    /// Offset of each line.
    lines: Vec<usize>,
    facts: Facts,
}

/// Byte ranges of the file.
#[derive(Default)]
struct Facts {
    /// The enclosing types of the code that is visited.
    types: Vec<String>,
    functions: Vec<(Range<usize>, String)>,
    parts: Vec<Part>,
    consequences: Vec<Consequence>,
    /// The operand of each `?`, by the offset of the `?`.
    tries: BTreeMap<usize, Range<usize>>,
    /// Tests, assertions, deliberate mistakes.
    left_out: Vec<Range<usize>>,
}

impl Source {
    /// Parses a source file.
    ///
    /// # Errors
    /// If it is not valid Rust.
    pub fn parse(text: String) -> Result<Self, syn::Error> {
        let mut facts = Facts::default();
        facts.visit_file(&syn::parse_file(&text)?);
        facts.parts.sort_by_key(|part| (part.code.start, std::cmp::Reverse(part.code.end)));
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Ok(Self { text, lines, facts })
    }

    /// Offset of a line and column, both from 1. Sources are ASCII (`tests/tidy.rs`).
    #[must_use]
    pub fn offset(&self, (line, column): (u64, u64)) -> usize {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
        let line = self.lines.get(number(line)).copied().unwrap_or(self.text.len());
        line.saturating_add(number(column)).min(self.text.len())
    }

    /// Line of an offset, from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// The code in a range, on one line.
    #[must_use]
    pub fn code(&self, range: &Range<usize>) -> String {
        let words: Vec<_> = self.text[range.clone()].split_whitespace().collect();
        words.join(" ")
    }

    /// Name of the innermost function around a range, with its type; empty outside of functions.
    #[must_use]
    pub fn function(&self, range: &Range<usize>) -> &str {
        let around = self.facts.functions.iter().filter(|(it, _)| contains(it, range));
        around.min_by_key(|(it, _)| it.len()).map_or("", |(_, name)| name)
    }

    /// The code of all functions of this name, on one line.
    #[cfg(test)]
    pub fn code_of_function(&self, name: &str) -> Vec<String> {
        let named = self.facts.functions.iter().filter(|(_, it)| it == name);
        named.map(|(range, _)| self.code(range)).collect()
    }

    /// Whether a range is part of a test, an assertion or a deliberate mistake.
    #[must_use]
    pub fn is_left_out(&self, range: &Range<usize>) -> bool {
        self.facts.left_out.iter().any(|it| contains(it, range))
    }

    /// The parts of the file, outer ones before those inside.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.facts.parts
    }

    /// The code that follows from each condition.
    #[must_use]
    pub fn consequences(&self) -> &[Consequence] {
        &self.facts.consequences
    }

    /// The operand of the `?` at this offset.
    #[must_use]
    pub fn operand(&self, question_mark: usize) -> Option<&Range<usize>> {
        self.facts.tries.get(&question_mark)
    }
}

/// Whether a range contains another one.
#[must_use]
pub fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// What the deliberate mistakes decide in a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// It is true only with one.
    IfMade,
    /// It is false only with one.
    UnlessMade,
    Neither,
}

fn mistake_in(condition: &Expr) -> Mistake {
    match condition {
        Expr::Call(call) => match &*call.func {
            Expr::Path(path)
                if path.path.segments.last().is_some_and(|it| it.ident == SABOTAGE) =>
            {
                Mistake::IfMade
            }
            _ => Mistake::Neither,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => match mistake_in(&unary.expr) {
            Mistake::IfMade => Mistake::UnlessMade,
            Mistake::UnlessMade => Mistake::IfMade,
            Mistake::Neither => Mistake::Neither,
        },
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            let both = [mistake_in(&binary.left), mistake_in(&binary.right)];
            if both.contains(&Mistake::IfMade) { Mistake::IfMade } else { Mistake::Neither }
        }
        Expr::Paren(inner) => mistake_in(&inner.expr),
        _ => Mistake::Neither,
    }
}

impl Facts {
    fn part(&mut self, code: Range<usize>, shown: Range<usize>) {
        self.parts.push(Part { code, shown, is_function: false });
    }

    fn follows(&mut self, condition: &Expr, result: bool, code: Range<usize>) {
        let condition = range(condition.span());
        self.consequences.push(Consequence { condition, result, code });
    }

    /// Enters a function, and returns whether it is to be visited.
    fn function(
        &mut self,
        attrs: &[syn::Attribute],
        whole: Range<usize>,
        name: &syn::Ident,
    ) -> bool {
        if is_test(attrs) {
            self.left_out.push(whole);
            return false;
        }
        let name = self.types.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        self.functions.push((whole.clone(), name.join("::")));
        self.parts.push(Part { code: whole.clone(), shown: whole, is_function: true });
        true
    }
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        match is_test(&item.attrs) {
            true => self.left_out.push(range(item.span())),
            false => visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let last = |path: &syn::Path| path.segments.last().map(|it| it.ident.to_string());
        let is_debug = item.trait_.as_ref().and_then(|(path, _)| last(path));
        // How a value is shown for debugging decides nothing.
        if is_test(&item.attrs) || is_debug.is_some_and(|name| name == "Debug") {
            return self.left_out.push(range(item.span()));
        }
        let name = match &*item.self_ty {
            Type::Path(path) => last(&path.path),
            _ => None,
        };
        self.types.extend(name.clone());
        visit::visit_item_impl(self, item);
        if name.is_some() {
            self.types.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if self.function(&item.attrs, range(item.span()), &item.sig.ident) {
            let types = std::mem::take(&mut self.types);
            visit::visit_item_fn(self, item);
            self.types = types;
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if self.function(&item.attrs, range(item.span()), &item.sig.ident) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if item.default.is_some() && self.function(&item.attrs, range(item.span()), &item.sig.ident)
        {
            visit::visit_trait_item_fn(self, item);
        }
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let whole = range(block.span());
        self.part(whole.clone(), whole.start + 1..whole.end.saturating_sub(1).max(whole.start + 1));
        visit::visit_block(self, block);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let (whole, body) = (range(arm.span()), range(arm.body.span()));
        if let Pat::Guard(syn::PatGuard { guard, .. }) = &arm.pat {
            self.follows(guard, true, body.clone());
            if mistake_in(guard) == Mistake::IfMade {
                self.left_out.push(whole.clone());
            }
        }
        self.part(body, whole);
        visit::visit_arm(self, arm);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.part(range(closure.body.span()), range(closure.span()));
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let right = range(binary.right.span());
        match binary.op {
            BinOp::And(_) | BinOp::Or(_) => {
                let result = matches!(binary.op, BinOp::And(_));
                self.follows(&binary.left, result, right.clone());
                self.part(right.clone(), right);
            }
            _ => {}
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        let then = range(expr.then_branch.span());
        let otherwise = expr.else_branch.as_ref().map(|(_, code)| range(code.span()));
        match (mistake_in(&expr.cond), &otherwise) {
            (Mistake::IfMade, _) => self.left_out.push(then.clone()),
            (Mistake::UnlessMade, Some(otherwise)) => self.left_out.push(otherwise.clone()),
            _ => {}
        }
        self.follows(&expr.cond, true, then);
        if let Some(otherwise) = otherwise {
            self.follows(&expr.cond, false, otherwise);
        }
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_while(&mut self, expr: &'ast syn::ExprWhile) {
        self.follows(&expr.cond, true, range(expr.body.span()));
        visit::visit_expr_while(self, expr);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if let Some(init) = &local.init
            && let Some((_, diverges)) = &init.diverge
        {
            let condition = range(local.pat.span()).start..range(init.expr.span()).end;
            let code = range(diverges.span());
            self.consequences.push(Consequence { condition, result: false, code });
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_try(&mut self, expr: &'ast syn::ExprTry) {
        self.tries.insert(range(expr.question_token.span()).start, range(expr.expr.span()));
        visit::visit_expr_try(self, expr);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        if matches!(expr, Expr::Call(_) | Expr::Unary(_)) && mistake_in(expr) != Mistake::Neither {
            self.left_out.push(range(expr.span()));
        }
        visit::visit_expr(self, expr);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        let name = it.path.segments.last().map(|last| last.ident.to_string());
        if name.is_some_and(|name| ASSERTIONS.contains(&name.as_str())) {
            self.left_out.push(range(it.span()));
        }
    }

    fn visit_pat(&mut self, pat: &'ast Pat) {
        if let Pat::Guard(with) = pat {
            self.visit_expr(&with.guard);
        }
    }

    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(text: &str, code: &str) -> bool {
        let source = Source::parse(text.to_owned()).unwrap();
        let start = text.find(code).expect(code);
        source.is_left_out(&(start..start + code.len()))
    }

    #[test]
    fn code_of_deliberate_mistakes_is_left_out() {
        let text = "fn f() { if chosen(A) { a() } else { b() } if !chosen(B) { c() } else { d() }
            if x && chosen(C) { e() } if x || !chosen(D) { g() }
            match y { _ if chosen(E) => h(), _ => i() } }";
        for code in ["a()", "d()", "e()", "h()", "chosen(A)", "!chosen(D)"] {
            assert!(left_out(text, code), "{code}");
        }
        for code in ["b()", "c()", "g()", "i()"] {
            assert!(!left_out(text, code), "{code}");
        }
    }

    #[test]
    fn offsets_and_lines_are_those_of_the_text() {
        let source = Source::parse("fn f() {\n  g();\n}\n".to_owned()).unwrap();
        let range = source.offset((2, 3))..source.offset((2, 7));
        assert_eq!((source.code(&range).as_str(), source.line(range.start)), ("g();", 2));
        assert_eq!(source.function(&range), "f");
        assert_eq!(source.offset((9, 9)), 18);
        assert_eq!(source.code_of_function("f"), ["fn f() { g(); }"]);
    }
}
