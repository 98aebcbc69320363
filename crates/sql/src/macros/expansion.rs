//! Calls to expressions.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    ops::ControlFlow,
};

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{
        AccessExpr, CastKind, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArguments, Ident, Select, SelectItem, Spanned, Value, VisitMut, VisitorMut,
    },
    tokenizer::Span,
};

use super::{Macro, Macros, measure::Measure};
use crate::{
    catalog::fold,
    codes,
    limits::{MAX_CHAIN, MAX_TOKENS},
    parse::Parsing,
    text::SourceText,
    window_calls,
};

/// Puts functions in place of their calls, statement by statement, as long as the program stays as large as a written one may be.
pub(crate) struct Expansion<'m, 's, 'a> {
    macros: &'m Macros,
    source: &'s SourceText<'a>,
    /// Parts of expressions that all calls so far became.
    parts: usize,
    /// Tokens that were parsed for them.
    tokens: usize,
    /// Whether the calls are those of a function's own expression, whose size is known.
    inside: bool,
    errors: Vec<Diagnostic>,
}

impl<'m, 's, 'a> Expansion<'m, 's, 'a> {
    pub(crate) fn new(macros: &'m Macros, source: &'s SourceText<'a>) -> Self {
        Self { macros, source, parts: 0, tokens: 0, inside: false, errors: Vec::new() }
    }

    /// The same for another declaration: all of them together are bounded as well.
    pub(super) fn of_declaration(macros: &'m Macros, source: &'s SourceText<'a>) -> Self {
        Self { parts: macros.parts, ..Self::new(macros, source) }
    }

    /// Tokens that the calls so far were parsed from.
    pub(super) const fn tokens(&self) -> usize {
        self.tokens
    }

    /// Replaces all calls.
    ///
    /// # Errors
    /// The calls that are wrong.
    pub(crate) fn expand(&mut self, statement: &mut impl VisitMut) -> Result<(), Vec<Diagnostic>> {
        if self.macros.functions.is_empty() {
            return Ok(());
        }
        let ControlFlow::Continue(()) = statement.visit(self);
        if self.errors.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.errors)) }
    }

    fn replacement(
        &mut self,
        name: &str,
        function: &Macro,
        call: &Function,
    ) -> Result<Expr, Diagnostic> {
        let span = call.span();
        let wrong = |message: String, hint: String| {
            Diagnostic::error(codes::BAD_CALL, message)
                .at_option(self.source.balanced(span))
                .hint(hint)
        };
        let Some(arguments) = arguments(call) else {
            let message =
                format!("`{name}` is a function of the program, which takes plain arguments");
            return Err(wrong(message, format!("write {}", usage(name, function))));
        };
        if arguments.len() != function.params.len() {
            let (wanted, given) = (function.params.len(), arguments.len());
            let plural = if wanted == 1 { "argument" } else { "arguments" };
            let message = format!("`{name}` takes {wanted} {plural}, not {given}");
            return Err(wrong(message, format!("write {}", usage(name, function))));
        }
        if !self.inside {
            self.check_size(name, function, &arguments).map_err(|(code, message)| {
                Diagnostic::error(code, message).at_option(self.source.balanced(span)).hint(
                    "let the function use its parameters fewer times, or call it less within itself",
                )
            })?;
        }
        let mut body = self.body(function, span)?;
        let outside = std::mem::replace(&mut self.inside, true);
        let ControlFlow::Continue(()) = body.visit(self);
        self.inside = outside;
        let values = function.params.iter().zip(arguments).map(|(param, argument)| {
            (param.name.clone(), cast(argument, param.data_type.as_ref()))
        });
        let mut substitution = Substitution { values: values.collect(), fields: HashSet::new() };
        let ControlFlow::Continue(()) = body.visit(&mut substitution);
        Ok(Expr::Nested(Box::new(cast(body, function.returns.as_ref()))))
    }

    /// Counts what a call becomes, before it does.
    fn check_size(
        &mut self,
        name: &str,
        function: &Macro,
        arguments: &[Expr],
    ) -> Result<(), (&'static str, String)> {
        let (mut parts, mut deepest) = (function.parts, 0);
        for (param, argument) in function.params.iter().zip(arguments) {
            let measure = Measure::of(argument);
            parts = parts.saturating_add(measure.parts.saturating_mul(param.uses));
            deepest = deepest.max(measure.depth);
        }
        if function.depth + deepest > MAX_CHAIN {
            return Err((
                codes::TOO_DEEP,
                format!(
                    "with `{name}` put in, the expression is more than {MAX_CHAIN} levels deep"
                ),
            ));
        }
        self.parts = self.parts.saturating_add(parts);
        if self.parts > MAX_TOKENS {
            return Err((
                codes::TOO_LONG,
                format!(
                    "with `{name}` put in, the program has more than {MAX_TOKENS} parts of expressions"
                ),
            ));
        }
        Ok(())
    }

    /// The expression, every part of it at the place of the call.
    fn body(&mut self, function: &Macro, span: Span) -> Result<Expr, Diagnostic> {
        self.tokens = self.tokens.saturating_add(function.body.len());
        let mut tokens = function.body.clone();
        tokens.iter_mut().for_each(|token| token.span = span);
        let end = self.source.range(span).map_or(0, |range| range.end);
        Parsing::of_tokens(self.source, tokens, end).run(|parser| parser.parse_expr())
    }
}

fn usage(name: &str, function: &Macro) -> String {
    let params: Vec<_> = function.params.iter().map(|param| param.name.as_str()).collect();
    format!("{name}({})", params.join(", "))
}

/// The arguments of a call that has nothing else.
pub(super) fn arguments(call: &Function) -> Option<Vec<Expr>> {
    let plain = matches!(call.parameters, FunctionArguments::None)
        && call.filter.is_none()
        && call.null_treatment.is_none()
        && call.over.is_none()
        && call.within_group.is_empty();
    let list = match &call.args {
        FunctionArguments::List(list) if plain => list,
        _ => return None,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

fn cast(expr: Expr, data_type: Option<&SqlType>) -> Expr {
    match data_type {
        None => expr,
        Some(data_type) => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type: data_type.clone(),
            array: false,
            format: None,
        },
    }
}

impl VisitorMut for Expansion<'_, '_, '_> {
    type Break = Infallible;

    /// A column is named after the call, not after what it becomes.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Function(call)) = &*item
                && self.macros.functions.contains_key(&window_calls::name(call).to_lowercase())
            {
                let alias = Ident::with_quote('"', call.to_string());
                *item = SelectItem::ExprWithAlias { expr: Expr::Function(call.clone()), alias };
            }
        }
        ControlFlow::Continue(())
    }

    /// Behind its arguments, so that these are expanded already, each once.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let name = window_calls::name(call).to_lowercase();
        let macros = self.macros;
        if let Some(function) = macros.functions.get(&name) {
            match self.replacement(&name, function, call) {
                Ok(replacement) => *expr = replacement,
                // Once it is too much, every other call is as well.
                Err(error)
                    if error.code == codes::TOO_LONG
                        && self.errors.iter().any(|known| known.code == error.code) => {}
                Err(error) => self.errors.push(error),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts arguments in place of parameters.
struct Substitution {
    values: BTreeMap<String, Expr>,
    /// Names of fields, as in `(x).name`, by address: they are no parameters.
    fields: HashSet<usize>,
}

impl Substitution {
    fn value(&self, ident: &Ident) -> Option<Box<Expr>> {
        let value = self.values.get(&fold(ident))?;
        Some(Box::new(Expr::Nested(Box::new(value.clone()))))
    }
}

impl VisitorMut for Substitution {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            for access in access_chain {
                if let AccessExpr::Dot(field) = access {
                    self.fields.insert(std::ptr::from_ref(field).addr());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Behind its parts: what was put in is not looked at again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if self.fields.remove(&std::ptr::from_ref(expr).addr()) {
            return ControlFlow::Continue(());
        }
        let replacement = match &*expr {
            Expr::Identifier(ident) => self.value(ident).map(|value| *value),
            Expr::CompoundIdentifier(idents) => idents.split_first().and_then(|(first, fields)| {
                let fields = fields.iter().map(|field| {
                    let name = Value::SingleQuotedString(fold(field)).with_span(field.span);
                    AccessExpr::Dot(Expr::Value(name))
                });
                let access_chain = fields.collect();
                Some(Expr::CompoundFieldAccess { root: self.value(first)?, access_chain })
            }),
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}
