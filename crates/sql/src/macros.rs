//! `CREATE FUNCTION`: an expression with a name, put in place of its calls before anything is planned.
//!
//! A call becomes the function's expression in parentheses, each parameter the argument in parentheses. Names of the expression are
//! those of parameters and of nothing else, so it can't take a column of whoever calls it by accident. Everything in it is placed at
//! the call: an error in there is one of these arguments, since the expression itself was checked where it is declared.

mod declaration;
mod expansion;
mod measure;

use std::collections::BTreeMap;

use sqlparser::{
    ast::{DataType as SqlType, Ident},
    tokenizer::TokenWithSpan,
};

pub(crate) use declaration::{FunctionDefinition, parse};
pub(crate) use expansion::Expansion;

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
}

/// A function that was checked.
#[derive(Debug)]
pub(crate) struct Macro {
    params: Vec<Param>,
    /// The type of the result, if it is declared.
    returns: Option<SqlType>,
    /// The expression as it is written.
    body: Vec<TokenWithSpan>,
    /// Its parts once the functions that it calls are put in.
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
