//! `CREATE FUNCTION`: an expression with a name, put in place of its calls before anything is planned.
//!
//! A call becomes the function's expression in parentheses, each parameter the argument in parentheses. Names of the expression are
//! those of parameters and of nothing else, so it can't take a column of whoever calls it by accident. Everything in it is placed at
//! the call: an error in there is one of these arguments, since the expression itself was checked where it is declared.

mod declaration;
mod expansion;
mod measure;

use std::{collections::BTreeMap, ops::Range};

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{DataType as SqlType, Ident},
    tokenizer::{Token, TokenWithSpan},
};

pub(crate) use declaration::{FunctionDefinition, parse};
pub(crate) use expansion::Expansion;

use crate::text::SourceText;

/// The functions of a program.
#[derive(Debug, Default)]
pub(crate) struct Macros {
    /// By lower-case name.
    functions: BTreeMap<String, Macro>,
    /// Parts of expressions that their declarations became.
    parts: usize,
}

impl Macros {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    pub(crate) fn insert(&mut self, name: String, function: Macro) {
        self.parts = self.parts.saturating_add(function.parts);
        self.functions.insert(name, function);
    }

    /// Says of each finding that is placed at a call which function it is about: what is wrong stands in that one's expression.
    pub(crate) fn name_in(&self, found: &mut [Diagnostic], source: &SourceText<'_>) {
        for finding in found {
            let place = finding.span.as_ref().map(|span| span.range.clone());
            let name = place.and_then(|place| self.called_at(&place, source));
            if let Some(name) = name.filter(|name| !finding.message.contains(&format!("`{name}`")))
            {
                finding.message = format!("in `{name}`: {}", finding.message);
            }
        }
    }

    /// The function whose call is all that stands at a place; the parser's place of a call ends with its last argument.
    fn called_at(&self, place: &Range<usize>, source: &SourceText<'_>) -> Option<String> {
        let lexeme = source.lexemes().get(source.index_at(place.start))?;
        let Token::Word(word) = &lexeme.token.token else { return None };
        let name = word.value.to_lowercase();
        let call = source.balanced(lexeme.token.span)?;
        let is_call = lexeme.range.start == place.start
            && place.end > lexeme.range.end
            && place.end <= call.end
            && self.functions.contains_key(&name);
        is_call.then_some(name)
    }
}

/// A function that was checked.
#[derive(Debug)]
pub(crate) struct Macro {
    params: Vec<Param>,
    /// The type of the result, if it is declared.
    returns: Option<SqlType>,
    /// The expression as it is written.
    body: Vec<TokenWithSpan>,
    /// Its parts once the functions that it calls are put in. Where many tokens are parsed for them they count instead: a type is one
    /// part, however long it is.
    parts: usize,
    /// How many levels these are.
    depth: usize,
}

/// A parameter.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) ident: Ident,
    /// As [`fold`](crate::catalog::fold) makes it.
    pub(crate) name: String,
    pub(crate) data_type: Option<SqlType>,
    /// How often it stands in the expression, once the functions that this calls are put in.
    pub(crate) uses: usize,
}
