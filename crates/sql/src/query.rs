//! One bounded SELECT over the tables and views of a program.

use datafusion::logical_expr::LogicalPlan;
use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::Program;

use crate::{
    checks::Input,
    codes,
    emission::Settings,
    guard,
    macros::Expansion,
    parse::{self, Statement},
    prepass, program, select,
    text::SourceText,
};

/// Plans a query; runs on a thread with enough stack.
pub(crate) fn plan(sql: &str, program: &Program) -> Result<LogicalPlan, Diagnostics> {
    guard::check_length(sql)?;
    let source = SourceText::lex(sql)?;
    guard::check_tokens(&source)?;
    let statements = prepass::split(&source);
    let [statement] = statements.as_slice() else {
        let range = statements.get(1).and_then(|second| second.first()).map(|l| l.range.clone());
        return Err(Diagnostic::error(codes::UNSUPPORTED, "a query is exactly one SELECT")
            .at_option(range)
            .hint("write one SELECT .. FROM ..")
            .into());
    };
    let located = parse::statement(&source, statement)?;
    let Statement::Select(mut query) = located.statement else {
        return Err(Diagnostic::error(codes::UNSUPPORTED, "a query can only SELECT")
            .at(located.range)
            .hint("put tables, views and INSERTs into the program")
            .into());
    };
    let catalog = program::reopen(program)?;
    Expansion::new(&catalog.macros, &source).expand(query.as_mut()).map_err(Diagnostics)?;
    let input = Input::Bounded;
    let planned =
        select::analyze(&catalog, &source, &query, input, &located.range).and_then(|analyzed| {
            select::finish(analyzed.plan, input, &source, &located.range, Settings::of_query())
        });
    planned.map_err(|mut found| {
        catalog.macros.name_in(&mut found, &source);
        Diagnostics(found)
    })
}
