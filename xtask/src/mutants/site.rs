//! A place where mistakes can be made, and the edits that build them in.
//!
//! Every mistake is built in behind a run-time switch, so that one build holds all of them. An expression
//! is therefore rewritten such that its operands stand in it once, whatever is chosen: mistakes nest.

use std::ops::Range;

/// A mistake that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What is replaced by what.
    pub change: String,
    /// The code that stands there instead, in terms of the operands' names in [`Site`]'s rewriting.
    pub(super) code: String,
}

/// How a site is rewritten around what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Operands by value, then an expression of them: the operator's range, and the unchanged code.
    Operands { operator: Range<usize>, by_reference: bool, unchanged: String },
    /// One operand behind a prefix operator that is taken away.
    Prefix { operator: Range<usize>, unchanged: String },
    /// `&&` or `||`: which, and the operator's range.
    Lazy { operator: Range<usize>, is_and: bool },
    /// The whole is replaced.
    Whole,
    /// A statement that is left out.
    Statement,
    /// A function that returns at once; the range is empty, behind the opening brace.
    Body,
    /// `left.min(right)`: the ranges of `.min(` and of the closing parenthesis.
    Method { call: Range<usize>, close: Range<usize>, unchanged: String },
    /// `left += right`: the ranges of the operator, and the text of the place.
    Assign { operator: Range<usize>, place: Range<usize> },
}

/// A place in a source file, and the mistakes that can be made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Bytes of the file.
    pub range: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// The function around it.
    pub function: String,
    pub(super) form: Form,
    /// At least one.
    pub mutants: Vec<Mutant>,
}

/// An insertion or replacement in a text.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is replaced; empty for an insertion.
    pub range: Range<usize>,
    /// What stands there then.
    pub text: String,
    /// Whether it closes what another edit opened: inner ones come first then.
    pub closes: bool,
}

impl Site {
    /// Whether it is a statement that is left out.
    pub fn is_statement(&self) -> bool {
        self.form == Form::Statement
    }

    /// The edits that build its mistakes in; `numbers` are theirs.
    pub fn edits(&self, source: &str, numbers: &[u32]) -> Vec<Edit> {
        let open = |at: usize, text: String| Edit { range: at..at, text, closes: false };
        let close = |at: usize, text: String| Edit { range: at..at, text, closes: true };
        let replace = |range: &Range<usize>, text: &str| Edit {
            range: range.clone(),
            text: text.to_owned(),
            closes: false,
        };
        let Range { start, end } = self.range;
        let chosen = |unchanged: &str| {
            let mut text = String::new();
            for (mutant, number) in self.mutants.iter().zip(numbers) {
                text += &format!("if crate::mutants::on({number}) {{ {} }} else ", mutant.code);
            }
            text + &format!("{{ {unchanged} }}")
        };
        let on = |n: usize| format!("crate::mutants::on({})", numbers[n]);
        match &self.form {
            Form::Operands { operator, by_reference: true, unchanged } => vec![
                open(start, "(match (&(".to_owned()),
                replace(operator, "), &("),
                close(end, format!(")) {{ (hay_l, hay_r) => {} }})", chosen(unchanged))),
            ],
            Form::Operands { operator, by_reference: false, unchanged } => vec![
                open(start, "(match ((".to_owned()),
                replace(operator, "), ("),
                close(end, format!(")) {{ (hay_l, hay_r) => {} }})", chosen(unchanged))),
            ],
            Form::Prefix { operator, unchanged } => vec![
                open(start, "(match (".to_owned()),
                replace(operator, ""),
                close(end, format!(") {{ hay_l => {} }})", chosen(unchanged))),
            ],
            Form::Lazy { operator, is_and } => {
                let sign = if *is_and { "!=" } else { "==" };
                vec![
                    open(start, "(match (".to_owned()),
                    replace(operator, &format!(") {{ hay_l => if hay_l {sign} {} {{ ", on(0))),
                    close(end, " } else { hay_l } })".to_owned()),
                ]
            }
            Form::Whole => {
                let first = &self.mutants[0].code;
                vec![
                    open(start, format!("(if {} {{ {first} }} else {{ ", on(0))),
                    close(end, " })".to_owned()),
                ]
            }
            Form::Statement => {
                vec![open(start, format!("if !{} {{ ", on(0))), close(end, " }".to_owned())]
            }
            Form::Body => {
                let mut text = String::new();
                for (n, mutant) in self.mutants.iter().enumerate() {
                    text += &format!(" if {} {{ return {}; }}", on(n), mutant.code);
                }
                vec![open(start, text)]
            }
            Form::Method { call, close: end_of_call, unchanged } => vec![
                open(start, "(match ((".to_owned()),
                replace(call, "), ("),
                replace(end_of_call, ")"),
                close(end, format!(") {{ (hay_l, hay_r) => {} }})", chosen(unchanged))),
            ],
            Form::Assign { operator, place } => {
                let (place_text, sign) = (&source[place.clone()], &source[operator.clone()]);
                let unchanged = format!("{place_text} {sign} hay_r");
                vec![
                    replace(&(start..operator.end), "(match ("),
                    close(end, format!(") {{ hay_r => {} }})", chosen(&unchanged))),
                ]
            }
        }
    }
}
