//! How much a query stands for once views and CTEs are expanded.

use postrider_core::Diagnostic;

use crate::{
    codes,
    limits::{MAX_QUERY_DEPTH, MAX_RELATIONS},
};

/// How large a query is once views and CTEs are expanded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// Tables it reads.
    pub(crate) relations: u64,
    /// Queries that are in each other, views and CTEs included.
    pub(crate) depth: u64,
}

impl Extent {
    pub(super) const TABLE: Self = Self { relations: 1, depth: 0 };

    /// Both beside each other.
    pub(super) fn add(&mut self, other: Self) {
        self.relations = self.relations.saturating_add(other.relations);
        self.depth = self.depth.max(other.depth);
    }

    pub(super) fn refuse(self) -> Option<Diagnostic> {
        if self.relations > MAX_RELATIONS {
            let message = format!(
                "the query reads more than {MAX_RELATIONS} tables once its views and CTEs are expanded"
            );
            return Some(
                Diagnostic::error(codes::TOO_WIDE, message).hint("read each of them fewer times"),
            );
        }
        if self.depth > MAX_QUERY_DEPTH {
            let message = format!(
                "more than {MAX_QUERY_DEPTH} queries are built on each other, views and CTEs included"
            );
            return Some(
                Diagnostic::error(codes::TOO_DEEP, message)
                    .hint("let one SELECT do the work of several"),
            );
        }
        None
    }
}
