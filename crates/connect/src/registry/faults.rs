//! Collects what is wrong with a table's options, so that people see all of it at once.

use postrider_core::{Diagnostic, TableOptions};

use crate::path::PathTemplate;

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Diagnostic>);

impl Faults {
    /// The value, or `None` and the fault is kept.
    pub(crate) fn keep<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|fault| self.0.push(fault)).ok()
    }

    pub(crate) fn push(&mut self, fault: Diagnostic) {
        self.0.push(fault);
    }

    /// Takes the option `path`, which must be there.
    pub(crate) fn path(
        &mut self,
        options: &mut TableOptions,
        example: &str,
    ) -> Option<PathTemplate> {
        let range = options.peek("path").map(|option| option.range.clone());
        let text = self.keep(options.required_text("path", example))?;
        self.keep(PathTemplate::parse(&text, range))
    }

    /// Refuses what nobody took; an error if anything was wrong.
    pub(crate) fn end(mut self, options: TableOptions) -> Result<(), Vec<Diagnostic>> {
        if let Err(unknown) = options.finish() {
            self.0.extend(unknown);
        }
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
