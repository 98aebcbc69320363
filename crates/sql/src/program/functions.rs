//! The functions that a program declares, and the statements that call them.

use std::collections::BTreeSet;

use super::Planner;
use crate::{
    catalog::{fold, only_part},
    macros::Expansion,
    parse::{Located, Statement},
};

impl Planner<'_, '_> {
    /// Declares all functions and puts them in place of their calls. A statement with a wrong call is left out, since every other
    /// finding in it would follow from that.
    pub(super) fn put_in_functions(&mut self, statements: Vec<Located>) -> Vec<Located> {
        self.declare_functions(&statements);
        let mut expansion = Expansion::new(&self.catalog.macros, self.source);
        let (mut errors, mut broken) = (Vec::new(), Vec::new());
        let mut kept = Vec::with_capacity(statements.len());
        for mut located in statements {
            let expanded = match &mut located.statement {
                Statement::Table(create, clauses) => {
                    let watermark =
                        clauses.watermark.as_mut().and_then(|clause| clause.expr.as_mut());
                    expansion.expand(create.as_mut()).and_then(|()| match watermark {
                        Some(expr) => expansion.expand(expr),
                        None => Ok(()),
                    })
                }
                Statement::View(create) => expansion.expand(create.as_mut()),
                Statement::Insert(insert) => expansion.expand(insert.as_mut()),
                Statement::Select(query) => expansion.expand(query.as_mut()),
                Statement::Function(_) | Statement::Set(_) => Ok(()),
            };
            match expanded {
                Ok(()) => kept.push(located),
                Err(found) => {
                    errors.extend(found);
                    broken.extend(declared_name(&located.statement));
                }
            }
        }
        self.errors.extend(errors);
        self.broken.extend(broken);
        kept
    }

    fn declare_functions(&mut self, statements: &[Located]) {
        let functions = || {
            statements.iter().filter_map(|located| match &located.statement {
                Statement::Function(function) => Some((function, &located.range)),
                _ => None,
            })
        };
        let mut below: BTreeSet<String> =
            functions().map(|(function, _)| function.name()).collect();
        for (function, range) in functions() {
            let name = function.name();
            // Its errors would follow from those of the function that it calls.
            if self.uses_broken(range) {
                self.broken.insert(name);
                continue;
            }
            match function.check(&self.catalog, self.source, &below, range) {
                Ok(checked) => {
                    below.remove(&name);
                    self.catalog.macros.insert(name, checked);
                }
                Err(found) => {
                    self.errors.extend(found);
                    self.broken.insert(name);
                }
            }
        }
    }
}

/// The lower-case name of what a statement would have declared.
fn declared_name(statement: &Statement) -> Option<String> {
    let name = match statement {
        Statement::Table(create, _) => &create.name,
        Statement::View(create) => &create.name,
        _ => return None,
    };
    only_part(name).map(|ident| fold(ident).to_lowercase())
}
