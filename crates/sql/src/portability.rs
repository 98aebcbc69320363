//! What of a program another engine does not have, and what it takes in another sense.
//!
//! The dialect's core is Arroyo's, so that a pipeline can move to it when one machine is not enough. Postrider has more; each
//! such thing is named here with its place. The facts are those of Arroyo 0.15 and of its sources of 2026-08.

mod arroyo;
mod joins;
mod queries;
mod tables;

use std::{fmt, ops::Range, str::FromStr};

use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::Program;

use crate::{codes, parse, prepass, text::SourceText};

/// An engine that a pipeline can move to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// [Arroyo](https://arroyo.dev).
    Arroyo,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arroyo => "Arroyo",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "arroyo" => Ok(Self::Arroyo),
            _ => Err(format!("there is no engine '{name}'; write 'arroyo'")),
        }
    }
}

/// Looks at a program; runs on a thread with enough stack.
pub(crate) fn check(program: &Program, engine: Engine) -> Result<Vec<Diagnostic>, Diagnostics> {
    let Engine::Arroyo = engine;
    let source = SourceText::lex(&program.sql)?;
    let mut findings = Findings { source: &source, found: Vec::new() };
    for lexemes in prepass::split(&source) {
        arroyo::statement(&parse::statement(&source, lexemes)?, &mut findings);
    }
    for query in &program.queries {
        joins::check(&query.plan, &query.range, &mut findings);
    }
    Ok(findings.in_order())
}

/// What was found so far.
struct Findings<'s, 'a> {
    source: &'s SourceText<'a>,
    found: Vec<Diagnostic>,
}

impl Findings<'_, '_> {
    /// Something that the engine refuses.
    fn refused(&mut self, place: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Diagnostic::error(codes::NOT_PORTABLE, what).at(place).hint(hint));
    }

    /// Something that the engine takes, and that means something else there.
    fn differs(&mut self, place: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Diagnostic::warning(codes::MEANS_ANOTHER, what).at(place).hint(hint));
    }

    /// In the order of the text, each once: several queries may read one view.
    fn in_order(mut self) -> Vec<Diagnostic> {
        let place = |found: &Diagnostic| {
            found.span.as_ref().map_or((0, 0), |span| (span.range.start, span.range.end))
        };
        self.found.sort_by_key(place);
        self.found.dedup();
        self.found
    }
}
