//! Joins with tables that are looked up to [`TableJoin`] nodes: `JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency`.
//!
//! A left row meets at most one row of the table, so the condition names the whole PRIMARY KEY. A table with an event time keeps the
//! versions of its rows: a left row meets the one that was the newest at its own event time, and no other time can be asked for. One
//! that has no event time and an end, such as a file, is read whole, and met as it is then, without FOR SYSTEM_TIME.

mod condition;
pub(crate) mod filters;
mod looked;
pub(crate) mod syntax;

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{JoinType, Result, tree_node::Transformed},
    logical_expr::{
        Expr, Extension, Join, LogicalPlan,
        utils::{conjunction, split_conjunction_owned},
    },
};
use postrider_core::Diagnostic;
use postrider_plan::{Lookup, RowTime, TableJoin, is_updating};

pub(crate) use self::looked::in_memory;
use self::{
    looked::{Looked, Rows, looked},
    syntax::AsOf,
};
use crate::{
    changelog, codes, joins,
    limits::PARTITION_BYTES,
    lower,
    row_time::{self, Traced},
    text::SourceText,
    walk,
};

/// The finding that a query that ends reads a view whose rows look up a version of a table, if it does.
pub(crate) fn refuse_bounded(plan: &LogicalPlan, within: &Range<usize>) -> Option<Diagnostic> {
    let mut found = false;
    walk::nodes(plan, |node| {
        found |= matches!(node, LogicalPlan::Join(join) if asks_version(join))
    });
    let message = "a query that ends can't look up versions of tables";
    found.then(|| {
        Diagnostic::error(codes::NO_VERSION, message).at(within.clone()).hint(syntax::BOUNDED_HINT)
    })
}

/// What a row that waits, or a version, costs beside its columns: its place, its key and its time.
const ROW_BYTES: u64 = 48;

/// Replaces each join with a table that is looked up. What can't run is left, and said.
pub(crate) fn lower(
    plan: LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let mut errors = Vec::new();
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(join) = node else { return Ok(Transformed::no(node)) };
        let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let (times, others): (Vec<_>, Vec<_>) = conditions.into_iter().partition(AsOf::is);
        let asking = Asking { join: &join, source, within };
        let time = times.first().and_then(AsOf::time);
        match asking.table_join(time, others) {
            Ok(Some(node)) => {
                let node = Extension { node: Arc::new(node?) };
                Ok(Transformed::yes(LogicalPlan::Extension(node)))
            }
            Ok(None) => Ok(Transformed::no(LogicalPlan::Join(join))),
            Err(error) => {
                errors.push(error);
                Ok(Transformed::no(LogicalPlan::Join(join)))
            }
        }
    })?;
    Ok((plan.data, errors))
}

/// A join that may look up a table, and where it stands.
struct Asking<'j, 's, 'a> {
    join: &'j Join,
    source: &'s SourceText<'a>,
    within: &'j Range<usize>,
}

impl Asking<'_, '_, '_> {
    /// The join with the table on the right, at a time if one is asked for; `None` if it is a join of two streams.
    fn table_join(
        &self,
        time: Option<&Expr>,
        conditions: Vec<Expr>,
    ) -> std::result::Result<Option<Result<TableJoin>>, Diagnostic> {
        if let Some(table) = looked(&self.join.right).filter(|table| table.rows == Rows::Whole) {
            return self.whole(&table, time, conditions).map(Some);
        }
        if let Some(time) = time {
            return self.as_of(time, conditions).map(Some);
        }
        match looked(&self.join.left).filter(|table| table.rows == Rows::Whole) {
            Some(table) => Err(self.wrong_side(
                format!("`{}` is looked up, so it stands on the right of the join", table.name),
                format!("put the stream first: FROM orders JOIN {} ON ..", table.name),
            )),
            None => Ok(None),
        }
    }

    /// The join with a table that is read whole. At every time it is the same.
    fn whole(
        &self,
        table: &Looked,
        time: Option<&Expr>,
        conditions: Vec<Expr>,
    ) -> std::result::Result<Result<TableJoin>, Diagnostic> {
        let Join { left, right, join_type, .. } = self.join;
        if !matches!(join_type, JoinType::Inner | JoinType::Left) {
            let name = &table.name;
            return Err(self.wrong_side(
                format!(
                    "`{name}` is looked up, so no join tells which of its rows nobody asked for"
                ),
                format!("keep the rows of the stream: FROM orders LEFT JOIN {name} ON .."),
            ));
        }
        if let Some(time) = time {
            self.check_time(time)?;
        }
        let (on, others) = self.key(table, conditions)?;
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let filter = conjunction(others);
        Ok(TableJoin::try_new(left, right, Lookup::Last, *join_type, on, filter))
    }

    fn wrong_side(&self, message: String, hint: String) -> Diagnostic {
        Diagnostic::error(codes::LOOKUP_SIDE, message).at(self.place()).hint(hint)
    }

    /// The join with the versions of a table.
    fn as_of(
        &self,
        time: &Expr,
        conditions: Vec<Expr>,
    ) -> std::result::Result<Result<TableJoin>, Diagnostic> {
        let Join { left, right, join_type, .. } = self.join;
        if is_updating(left) {
            return Err(changelog::not_final(
                "FOR SYSTEM_TIME AS OF",
                left,
                self.source,
                self.within,
            ));
        }
        if !matches!(join_type, JoinType::Inner | JoinType::Left) {
            return Err(
                self.no_version("a version is looked up by JOIN and LEFT JOIN only", syntax::HINT)
            );
        }
        let Some(table) = looked(right) else {
            return Err(self.no_version(
                "FOR SYSTEM_TIME AS OF takes a table, or a view that picks columns of one",
                "filter behind the join, or write the rows of the query to a table of their own",
            ));
        };
        self.check_versions(&table)?;
        self.check_time(time)?;
        let (on, others) = self.key(&table, conditions)?;
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let filter = conjunction(others);
        Ok(TableJoin::try_new(left, right, Lookup::AsOf, *join_type, on, filter))
    }

    fn check_versions(&self, table: &Looked) -> std::result::Result<(), Diagnostic> {
        let timed = matches!(table.rows, Rows::Versions);
        let lacks = match (table.key.is_empty(), timed) {
            (true, false) => "PRIMARY KEY and no WATERMARK FOR",
            (true, true) => "PRIMARY KEY",
            (false, false) => "WATERMARK FOR",
            (false, true) => return Ok(()),
        };
        let message = format!("`{}` keeps no versions: it has no {lacks}", table.name);
        Err(self.no_version(
            message,
            "a versioned table says of what a row is a version, and from when on: PRIMARY KEY (currency), WATERMARK FOR ts AS ts",
        ))
    }

    /// A row can ask for the version at its own time only: at any other one versions may still be to come, or be gone.
    fn check_time(&self, time: &Expr) -> std::result::Result<(), Diagnostic> {
        let left = &self.join.left;
        let own = matches!(row_time::trace(time, left), Some(Traced::Time(0)));
        if own && !RowTime::is_in(time) {
            return Ok(());
        }
        if let Some(table) = lower::clocks(left).iter().find(|table| table.watermark.is_none()) {
            return Err(lower::no_event_time(table, table.range.clone(), "ask for no version"));
        }
        let column = row_time::column_name(left, "");
        Err(self.no_version(
            "a row looks up the version at its own event time, and this is not that",
            format!("write FOR SYSTEM_TIME AS OF {column}; of a window it is window_time"),
        ))
    }

    fn no_version(&self, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
        let place = self.source.find_name("SYSTEM_TIME", self.within);
        Diagnostic::error(codes::NO_VERSION, message)
            .at(place.unwrap_or_else(|| self.within.clone()))
            .hint(hint)
    }

    /// The place of the condition.
    fn place(&self) -> Range<usize> {
        let conditions = self.join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let others = conditions.into_iter().filter(|condition| !AsOf::is(condition));
        let join = Join { filter: conjunction(others), ..self.join.clone() };
        joins::place(&join, self.source, self.within)
    }
}

fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

/// The join that a node is, if it looks up a table.
pub(crate) fn of(plan: &LogicalPlan) -> Option<&TableJoin> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Whether a join that is not lowered yet will be one with a table that is looked up, so that its rows have the time of their
/// left one.
pub(crate) fn will_be(join: &Join) -> bool {
    asks_version(join) || looked(&join.right).is_some_and(|table| table.rows == Rows::Whole)
}

fn asks_version(join: &Join) -> bool {
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    conditions.iter().any(AsOf::is)
}

/// The finding that a subquery asks whether there is a row in a table that is looked up.
pub(crate) fn not_by_subquery(join: &Join, place: &Range<usize>) -> Option<Diagnostic> {
    if !matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) {
        return None;
    }
    let tables = lower::tables(&join.right);
    let table = tables.iter().find(|table| table.is_lookup())?;
    let (name, key) = (&table.name, table.primary_key.first().map_or("id", String::as_str));
    let error = Diagnostic::error(
        codes::LOOKUP_SIDE,
        format!("`{name}` is looked up by a join, not by EXISTS or IN"),
    );
    Some(error.at(place.clone()).hint(format!(
        "write FROM orders o LEFT JOIN {name} t ON t.{key} = .. WHERE t.{key} IS NOT NULL; IS NULL for NOT EXISTS"
    )))
}

/// A warning for each table whose versions are remembered.
pub(crate) fn remembered(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    walk::nodes(plan, |node| warnings.extend(of(node).and_then(|join| warn(join, source, within))));
    warnings
}

fn warn(join: &TableJoin, source: &SourceText<'_>, within: &Range<usize>) -> Option<Diagnostic> {
    if join.lookup == Lookup::Last {
        // It has an end, and a limit.
        return None;
    }
    let table = looked(&join.right)?;
    let right = join.right.schema();
    let keys: Vec<_> = join.on.iter().map(|(_, column)| column.clone()).collect();
    let bytes = PARTITION_BYTES
        .saturating_add(lower::bytes_of_key(&keys, right))
        .saturating_add(lower::bytes_of_row(right))
        .saturating_add(ROW_BYTES);
    let names: Vec<_> = table.key.iter().map(|name| format!("`{name}`")).collect();
    let warning = Diagnostic::warning(
        codes::KEPT_FOR_EVER,
        format!(
            "the newest row of every {} of `{}` is remembered for ever: about {bytes} bytes each",
            names.join(", "),
            table.name
        ),
    );
    Some(warning.at(source.find_name(&table.name, within).unwrap_or_else(|| within.clone())).hint(
        format!(
            "a million of them take {} MB; older rows are let go by the watermark",
            bytes.saturating_mul(1_000_000) >> 20
        ),
    ))
}
