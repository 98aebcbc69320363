//! `CREATE FUNCTION name(a, b TYPE) [RETURNS TYPE] RETURN expression`, and what is wrong with it.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
};

use datafusion::{
    common::DFSchema,
    sql::planner::{PlannerContext, SqlToRel},
};
use postrider_core::Diagnostic;
use sqlparser::{
    ast::{
        AccessExpr, CastKind, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArguments, Ident, Spanned, Value, Visit, Visitor, WindowType,
    },
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token},
};

use super::{Expansion, Macro, Param, measure::Measure};
use crate::{
    catalog::{Catalog, fold},
    checks, codes, errors,
    limits::MAX_CHAIN,
    parse::Parsing,
    prepass, suggest,
    text::{Lexeme, SourceText},
    window_calls,
};

/// Tokens that cost as much as a part of an expression; with types and parentheses, most parts have fewer.
const TOKENS_OF_A_PART: usize = 4;
const EXAMPLE: &str = "write CREATE FUNCTION net(price, rate) RETURN price / (1 + rate)";

/// A declaration as it was written.
#[derive(Debug)]
pub(crate) struct FunctionDefinition {
    pub(crate) ident: Ident,
    params: Vec<Param>,
    returns: Option<(SqlType, Range<usize>)>,
    body: Expr,
    lexemes: Vec<Lexeme>,
}

/// Parses a declaration whose first word is CREATE.
///
/// # Errors
/// It is malformed.
pub(crate) fn parse(
    source: &SourceText<'_>,
    statement: &[Lexeme],
    end: usize,
) -> Result<FunctionDefinition, Diagnostic> {
    let start = statement.iter().position(|lexeme| lexeme.is_keyword(Keyword::FUNCTION));
    let head = statement.get(start.map_or(0, |at| at + 1)..).unwrap_or_default();
    // A parameter may not be named RETURN or AS without quotes, so the first of them is the end of the head.
    let returns =
        |lexeme: &Lexeme| lexeme.is_keyword(Keyword::RETURN) || lexeme.is_keyword(Keyword::AS);
    let Some(at) = head.iter().position(returns) else {
        return Err(Diagnostic::error(codes::SYNTAX, "the function has no RETURN")
            .at(end..end)
            .hint(EXAMPLE));
    };
    let (head, lexemes) = (&head[..at], head.get(at + 1..).unwrap_or_default());
    let body_start = head.last().map_or(end, |lexeme| lexeme.range.end);
    let mut parsing = Parsing::new(source, head, body_start);
    let (ident, params, returns) = parsing.run(parse_head)?;
    parsing.end()?;
    let mut parsing = Parsing::new(source, lexemes, end);
    let body = parsing.run(|parser| parser.parse_expr())?;
    parsing.end()?;
    let returns = returns.map(|data_type| (data_type, body_start..body_start));
    Ok(FunctionDefinition { ident, params, returns, body, lexemes: lexemes.to_vec() })
}

type Head = (Ident, Vec<Param>, Option<SqlType>);

fn parse_head(parser: &mut Parser<'_>) -> Result<Head, ParserError> {
    let ident = parser.parse_identifier()?;
    parser.expect_token(&Token::LParen)?;
    let params = parser.parse_comma_separated0(parse_param, Token::RParen)?;
    parser.expect_token(&Token::RParen)?;
    let returns =
        if parser.parse_keyword(Keyword::RETURNS) { Some(parser.parse_data_type()?) } else { None };
    Ok((ident, params, returns))
}

fn parse_param(parser: &mut Parser<'_>) -> Result<Param, ParserError> {
    let ident = parser.parse_identifier()?;
    let untyped = matches!(parser.peek_token().token, Token::Comma | Token::RParen);
    let data_type = if untyped { None } else { Some(parser.parse_data_type()?) };
    let name = fold(&ident);
    Ok(Param { ident, name, data_type, uses: 0 })
}

impl FunctionDefinition {
    /// Its name in calls.
    pub(crate) fn name(&self) -> String {
        fold(&self.ident).to_lowercase()
    }

    /// Checks it over the functions that were declared above. `below` are the names of the others, its own among them.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(
        &self,
        catalog: &Catalog,
        source: &SourceText<'_>,
        below: &BTreeSet<String>,
        range: &Range<usize>,
    ) -> Result<Macro, Vec<Diagnostic>> {
        let mut found = self.check_names(catalog, source);
        found.extend(self.check_types(catalog, source, range));
        let mut names =
            Names { definition: self, source, below, found: Vec::new(), fields: Vec::new() };
        let ControlFlow::Continue(()) = self.body.visit(&mut names);
        found.extend(names.found);
        if !found.is_empty() {
            return Err(found);
        }
        let mut expanded = self.body.clone();
        let mut expansion = Expansion::of_declaration(&catalog.macros, source);
        expansion.expand(&mut expanded)?;
        let read = expansion.tokens().saturating_add(self.lexemes.len());
        let found = checks::expression(catalog, source, &expanded);
        if !found.is_empty() {
            return Err(found);
        }
        let measure = Measure::of(&expanded);
        if measure.depth > MAX_CHAIN {
            let message = format!("the function's expression is more than {MAX_CHAIN} levels deep");
            return Err(vec![
                Diagnostic::error(codes::TOO_DEEP, message)
                    .at(range.clone())
                    .hint("let it do less, or let two functions share it"),
            ]);
        }
        let params = self.params.iter().map(|param| {
            let uses = measure.names.get(&param.name).copied().unwrap_or_default();
            Param { uses, ..param.clone() }
        });
        Ok(Macro {
            params: params.collect(),
            returns: self.returns.as_ref().map(|(data_type, _)| data_type.clone()),
            body: prepass::tokens(&self.lexemes),
            parts: measure.parts.max(read / TOKENS_OF_A_PART),
            depth: measure.depth,
        })
    }

    fn check_names(&self, catalog: &Catalog, source: &SourceText<'_>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let name = self.name();
        let taken = if catalog.functions.knows(&name) {
            Some("there is a function of that name already")
        } else if catalog.macros.names().any(|known| known == name) {
            Some("the program has declared a function of that name")
        } else {
            None
        };
        if let Some(taken) = taken {
            found.push(
                Diagnostic::error(codes::DUPLICATE_NAME, format!("`{name}`: {taken}"))
                    .at_option(source.range(self.ident.span))
                    .hint("give it another name"),
            );
        }
        for (index, param) in self.params.iter().enumerate() {
            if self.params[..index].iter().any(|other| other.name == param.name) {
                found.push(
                    Diagnostic::error(
                        codes::DUPLICATE_NAME,
                        format!("two parameters are named `{}`", param.name),
                    )
                    .at_option(source.range(param.ident.span))
                    .hint("rename one of them"),
                );
            }
        }
        found
    }

    /// A type that does not exist is found here, not at every call.
    fn check_types(
        &self,
        catalog: &Catalog,
        source: &SourceText<'_>,
        range: &Range<usize>,
    ) -> Vec<Diagnostic> {
        let params = self.params.iter().filter_map(|param| {
            let start = source.range(param.ident.span)?.start;
            Some((param.data_type.as_ref()?, source.item(start)))
        });
        let returns = self
            .returns
            .iter()
            .map(|(data_type, at)| (data_type, source.since_keyword(Keyword::RETURNS, at.clone())));
        let schema = DFSchema::empty();
        let wrong = params.chain(returns).filter_map(|(data_type, place)| {
            let cast = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(Value::Null.into())),
                data_type: data_type.clone(),
                array: false,
                format: None,
            };
            let planned =
                SqlToRel::new(catalog).sql_to_expr(cast, &schema, &mut PlannerContext::new());
            let place = if place.is_empty() { range.clone() } else { place };
            planned.err().map(|error| errors::explain(&error, source, &place))
        });
        wrong.flatten().collect()
    }
}

/// Finds the names in a function's expression that are none of its parameters, and calls to functions that are not declared yet.
struct Names<'d, 's, 'a> {
    definition: &'d FunctionDefinition,
    source: &'s SourceText<'a>,
    below: &'d BTreeSet<String>,
    found: Vec<Diagnostic>,
    /// Names of fields, as in `(x).name`, by address.
    fields: Vec<usize>,
}

impl Names<'_, '_, '_> {
    fn refuse(&mut self, what: &str, span: Span, hint: &str) {
        let message = format!("`{}` {what}", self.definition.name());
        self.found.push(
            Diagnostic::error(codes::BAD_FUNCTION, message)
                .at_option(self.source.balanced(span))
                .hint(hint),
        );
    }

    fn name(&mut self, ident: &Ident) {
        let name = fold(ident);
        let params = || self.definition.params.iter().map(|param| param.name.as_str());
        if params().any(|param| param == name) {
            return;
        }
        let function = self.definition.name();
        let hint = match suggest::nearest(&name, params()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "a function knows no columns but those it is given: add `{name}` to its parameters"
            ),
        };
        self.found.push(
            Diagnostic::error(
                codes::BAD_FUNCTION,
                format!("`{name}` is no parameter of `{function}`"),
            )
            .at_option(self.source.range(ident.span))
            .hint(hint),
        );
    }
}

/// Whether a call has a window that is defined elsewhere.
fn names_window(call: &Function) -> bool {
    match &call.over {
        Some(WindowType::NamedWindow(_)) => true,
        Some(WindowType::WindowSpec(window)) => window.window_name.is_some(),
        None => false,
    }
}

/// Whether a call takes all columns of a table.
fn names_table(call: &Function) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    list.args.iter().any(|argument| {
        matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)))
    })
}

impl Visitor for Names<'_, '_, '_> {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if self.fields.contains(&std::ptr::from_ref(expr).addr()) {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(idents) => {
                if let Some(first) = idents.first() {
                    self.name(first);
                }
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                let fields = access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Dot(field) => Some(std::ptr::from_ref(field).addr()),
                    AccessExpr::Subscript(_) => None,
                });
                self.fields.extend(fields);
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                self.refuse(
                    "can't read tables",
                    expr.span(),
                    "read the table in the query that calls it",
                );
            }
            Expr::Function(call) => {
                let name = window_calls::name(call).to_lowercase();
                if names_table(call) {
                    self.refuse("can't read tables", call.span(), "give it columns as parameters");
                }
                if names_window(call) {
                    self.refuse(
                        "can't use a window of whoever calls it",
                        call.span(),
                        "write the window out: OVER (PARTITION BY .. ORDER BY ..)",
                    );
                }
                if self.below.contains(&name) {
                    let (message, hint) = if name == self.definition.name() {
                        (
                            format!("`{name}` calls itself"),
                            "a function is put in place of its calls, so it can't recur",
                        )
                    } else {
                        (
                            format!("`{name}` is declared below"),
                            "declare it above: a function may call those before it",
                        )
                    };
                    self.found.push(
                        Diagnostic::error(codes::BAD_FUNCTION, message)
                            .at_option(self.source.balanced(call.span()))
                            .hint(hint),
                    );
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
