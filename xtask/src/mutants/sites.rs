//! Where a source file can be changed by one small mistake, and how: found in its syntax tree.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    BinOp, Block, Expr, ExprLit, ExprMethodCall, ImplItemFn, ItemFn, Lit, Local, Pat, ReturnType,
    Signature, Stmt, Type, UnOp,
};

use super::site::{Form, Mutant, Site};
use crate::syntax::{is_test, range};

/// All places in a source file, in its order. Tests and what the compiler evaluates are left out.
///
/// # Errors
/// When it is no Rust.
pub fn find(source: &str) -> Result<Vec<Site>, syn::Error> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder { source, function: Vec::new(), sites: Vec::new() };
    finder.visit_file(&file);
    finder.sites.sort_by_key(|site| (site.range.start, std::cmp::Reverse(site.range.end)));
    Ok(finder.sites)
}

struct Finder<'a> {
    source: &'a str,
    /// The functions around, outermost first.
    function: Vec<String>,
    sites: Vec<Site>,
}

/// Operators and what they are mistaken for.
fn mistakes(op: &BinOp) -> Option<(&'static str, &'static [&'static str], bool)> {
    Some(match op {
        BinOp::Lt(_) => ("<", &["<=", ">="], true),
        BinOp::Le(_) => ("<=", &["<", ">"], true),
        BinOp::Gt(_) => (">", &[">=", "<="], true),
        BinOp::Ge(_) => (">=", &[">", "<"], true),
        BinOp::Eq(_) => ("==", &["!="], true),
        BinOp::Ne(_) => ("!=", &["=="], true),
        BinOp::Add(_) => ("+", &["-"], false),
        BinOp::Sub(_) => ("-", &["+"], false),
        BinOp::Mul(_) => ("*", &["/"], false),
        BinOp::Div(_) => ("/", &["*"], false),
        BinOp::Rem(_) => ("%", &["/"], false),
        BinOp::BitAnd(_) => ("&", &["|"], false),
        BinOp::BitOr(_) => ("|", &["&"], false),
        BinOp::BitXor(_) => ("^", &["|"], false),
        BinOp::Shl(_) => ("<<", &[">>"], false),
        BinOp::Shr(_) => (">>", &["<<"], false),
        _ => return None,
    })
}

/// The same for operators that assign.
fn assignments(op: &BinOp) -> Option<(&'static str, &'static str)> {
    Some(match op {
        BinOp::AddAssign(_) => ("+=", "-="),
        BinOp::SubAssign(_) => ("-=", "+="),
        BinOp::MulAssign(_) => ("*=", "/="),
        BinOp::BitAndAssign(_) => ("&=", "|="),
        BinOp::BitOrAssign(_) => ("|=", "&="),
        BinOp::BitXorAssign(_) => ("^=", "|="),
        _ => return None,
    })
}

impl Finder<'_> {
    fn add(&mut self, span: Span, form: Form, mutants: Vec<Mutant>) {
        let function = self.function.join("::");
        let site = Site { range: range(span), line: span.start().line, function, form, mutants };
        self.sites.push(site);
    }

    fn binary(&mut self, expr: &syn::ExprBinary) {
        let operator = range(expr.op.span());
        if has_let(&expr.left) || has_let(&expr.right) {
            return;
        }
        if matches!(expr.op, BinOp::And(_) | BinOp::Or(_)) {
            let is_and = matches!(expr.op, BinOp::And(_));
            let change = if is_and { "&& -> ||" } else { "|| -> &&" };
            let mutant = Mutant { change: change.to_owned(), code: String::new() };
            return self.add(expr.span(), Form::Lazy { operator, is_and }, vec![mutant]);
        }
        if let Some((sign, others, by_reference)) = mistakes(&expr.op) {
            let star = if by_reference { "*" } else { "" };
            let with = |sign: &str| format!("{star}hay_l {sign} {star}hay_r");
            let mutant =
                |other: &&str| Mutant { change: format!("{sign} -> {other}"), code: with(other) };
            let mutants = others.iter().map(mutant).collect();
            let form = Form::Operands { operator, by_reference, unchanged: with(sign) };
            return self.add(expr.span(), form, mutants);
        }
        if let Some((sign, other)) = assignments(&expr.op) {
            let place = range(expr.left.span());
            let code = format!("{} {other} hay_r", &self.source[place.clone()]);
            let mutant = Mutant { change: format!("{sign} -> {other}"), code };
            self.add(expr.span(), Form::Assign { operator, place }, vec![mutant]);
        }
    }

    fn method(&mut self, call: &ExprMethodCall) {
        let (name, other) = match call.method.to_string().as_str() {
            "min" => ("min", "max"),
            "max" => ("max", "min"),
            _ => return,
        };
        if call.args.len() != 1 {
            return;
        }
        let start = range(call.dot_token.span()).start;
        let paren = call.paren_token.span;
        let form = Form::Method {
            call: start..range(paren.open()).end,
            close: range(paren.close()),
            unchanged: format!("hay_l.{name}(hay_r)"),
        };
        let mutant =
            Mutant { change: format!("{name} -> {other}"), code: format!("hay_l.{other}(hay_r)") };
        self.add(call.span(), form, vec![mutant]);
    }

    fn literal(&mut self, lit: &ExprLit) {
        let ExprLit { lit: Lit::Int(number), .. } = lit else { return };
        let Ok(value) = number.base10_parse::<u128>() else { return };
        let code = format!("{}{}", value + 1, number.suffix());
        let change = format!("{number} -> {code}");
        self.add(lit.span(), Form::Whole, vec![Mutant { change, code }]);
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let codes = returned(&signature.output);
        let text = self.source[range(block.span())].trim_matches(['{', '}', ' ', '\n']);
        let mutants: Vec<Mutant> = codes
            .iter()
            .filter(|code| text != **code && !(code.is_empty() && text.is_empty()))
            .map(|code| Mutant {
                change: format!("returns {code}").trim().to_owned(),
                code: (*code).to_owned(),
            })
            .collect();
        if mutants.is_empty() {
            return;
        }
        let at = range(block.brace_token.span.open()).end;
        let function = self.function.join("::");
        let line = signature.fn_token.span().start().line;
        self.sites.push(Site { range: at..at, line, function, form: Form::Body, mutants });
    }

    fn function(&mut self, attrs: &[syn::Attribute], signature: &Signature, block: &Block) {
        if signature.constness.is_some() || is_test(attrs) {
            return;
        }
        self.function.push(signature.ident.to_string());
        self.body(signature, block);
        self.visit_block(block);
        self.function.pop();
    }
}

/// What a function can return at once instead of what it should.
fn returned(output: &ReturnType) -> &'static [&'static str] {
    let ReturnType::Type(_, kind) = output else { return &[""] };
    let Type::Path(path) = &**kind else { return &[] };
    let Some(last) = path.path.segments.last() else { return &[] };
    let inner = {
        let mut text = String::new();
        if let syn::PathArguments::AngleBracketed(list) = &last.arguments
            && let Some(syn::GenericArgument::Type(kind)) = list.args.first()
        {
            match kind {
                Type::Tuple(tuple) if tuple.elems.is_empty() => text.push_str("()"),
                Type::Path(path) => {
                    text = path.path.get_ident().map(ToString::to_string).unwrap_or_default();
                }
                _ => {}
            }
        }
        text
    };
    match (last.ident.to_string().as_str(), inner.as_str()) {
        ("bool", _) => &["true", "false"],
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64", _) => &["0", "1"],
        ("Option", _) => &["None"],
        ("Result", "()") => &["Ok(())"],
        ("Result", "bool") => &["Ok(true)", "Ok(false)"],
        ("Vec" | "String" | "VecDeque" | "BTreeMap" | "BTreeSet", _) => &["Default::default()"],
        _ => &[],
    }
}

/// Whether a condition binds names.
fn has_let(expr: &Expr) -> bool {
    struct Lets(bool);
    impl Visit<'_> for Lets {
        fn visit_expr_let(&mut self, _: &syn::ExprLet) {
            self.0 = true;
        }
        fn visit_block(&mut self, _: &Block) {}
    }
    let mut lets = Lets(false);
    lets.visit_expr(expr);
    lets.0
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if is_test(&item.attrs) {
            return;
        }
        // How a value is shown for debugging decides nothing.
        let last_of = |path: &syn::Path| path.segments.last().is_some_and(|it| it.ident == "Debug");
        if item.trait_.as_ref().is_some_and(|(path, _)| last_of(path)) {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.function.extend(name.clone());
        visit::visit_item_impl(self, item);
        if name.is_some() {
            self.function.pop();
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    // What the compiler evaluates can't be switched.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_expr_repeat(&mut self, expr: &'ast syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
    }
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        let is_left_out = match stmt {
            Stmt::Expr(expr, Some(_)) => matches!(
                expr,
                Expr::Call(_)
                    | Expr::MethodCall(_)
                    | Expr::Await(_)
                    | Expr::Try(_)
                    | Expr::Assign(_)
            ),
            Stmt::Local(Local { pat: Pat::Wild(_), init: Some(_), .. }) => true,
            _ => false,
        };
        if is_left_out {
            let text =
                self.source[range(stmt.span())].split_whitespace().collect::<Vec<_>>().join(" ");
            let short: String = text.chars().take(60).collect();
            let mutant = Mutant { change: format!("left out: {short}"), code: String::new() };
            self.add(stmt.span(), Form::Statement, vec![mutant]);
        }
        visit::visit_stmt(self, stmt);
    }

    // How much room is made beforehand decides nothing but time.
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let is_capacity = matches!(&*call.func, Expr::Path(path)
            if path.path.segments.last().is_some_and(|it| it.ident == "with_capacity"));
        if !is_capacity {
            visit::visit_expr_call(self, call);
        }
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::Binary(binary) => self.binary(binary),
            Expr::MethodCall(call) => self.method(call),
            Expr::Lit(lit) => self.literal(lit),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) && !has_let(&unary.expr) => {
                let form = Form::Prefix {
                    operator: range(unary.op.span()),
                    unchanged: "!hay_l".to_owned(),
                };
                let mutant = Mutant { change: "! taken away".to_owned(), code: "hay_l".to_owned() };
                self.add(unary.span(), form, vec![mutant]);
            }
            // A literal behind it belongs to it.
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => return,
            _ => {}
        }
        // What stands left of an assignment is copied as it is, and is not rewritten.
        if let Expr::Binary(binary) = expr
            && assignments(&binary.op).is_some()
        {
            return self.visit_expr(&binary.right);
        }
        visit::visit_expr(self, expr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(source: &str) -> Vec<String> {
        let sites = find(source).unwrap();
        sites.iter().flat_map(|site| site.mutants.iter().map(|it| it.change.clone())).collect()
    }

    #[test]
    fn operators_literals_statements_and_bodies_are_mutated() {
        let source = "fn f(a: u64) -> bool { g(a); let mut b = a; b += a; !(a < 3 && b != a) }";
        assert_eq!(
            changes(source),
            [
                "returns true",
                "returns false",
                "left out: g(a);",
                "+= -> -=",
                "! taken away",
                "&& -> ||",
                "< -> <=",
                "< -> >=",
                "3 -> 4",
                "!= -> =="
            ]
        );
    }

    #[test]
    fn tests_and_constant_expressions_are_not_mutated() {
        let source = "const A: u64 = 1 + 2; #[cfg(test)] mod tests { fn f() { g(1); } }
            const fn c() -> u64 { 3 + 4 } fn d(x: [u8; 5]) -> [u8; 6] { match x { _ => [0; 6] } }";
        assert_eq!(changes(source), ["0 -> 1"]);
    }

    #[test]
    fn capacities_are_not_mutated() {
        assert_eq!(changes("fn f() -> X { g(Vec::with_capacity(8 + 1), 2) }"), ["2 -> 3"]);
    }

    #[test]
    fn condition_that_binds_names_is_not_negated() {
        let source = "fn f(a: Option<u8>) { if let Some(b) = a && b == g(b) { h(b); } }";
        assert_eq!(changes(source), ["returns", "== -> !=", "left out: h(b);"]);
    }
}
