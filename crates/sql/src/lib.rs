//! SQL text to plans, and every mistake to a [`Diagnostic`](postrider_core::Diagnostic) with its
//! place in the text.
//!
//! Nouns: *statement* (one of CREATE TABLE, CREATE VIEW, CREATE FUNCTION, INSERT .. SELECT, SELECT, SET), *lexeme* (a
//! token and its bytes), *catalog* (what names mean), *window call* (`tumble(..)` and its kin, which
//! become [`WindowAggregate`](postrider_plan::WindowAggregate) nodes).
//!
//! Owns: the dialect, the bounds on what a text may ask for, the checks that need a place, and
//! which of DataFusion's rules run. Does not own: execution, connectors' options, the email
//! contract.
//!
//! Invariants: no text crashes the process or stops it for long. A diagnostic's span is a byte
//! range of the text that was given. Plans of a program read tables only through
//! [`StreamTable`](postrider_plan::StreamTable) and hold nothing but projections, filters, unions,
//! aliases, scans, window aggregates, rows in their windows and ranks in these, joins, window functions and aggregates that change. Nothing is read but the text: no files, clock or network.
//!
//! Flow: `guard` (tokens) -> `prepass` (statements, WATERMARK) -> `parse` -> `macros` -> `ddl` | `checks` ->
//! DataFusion's planner and analyzer over `catalog` -> `insert` (sink columns) -> `optimize`
//! (lowering of windows, `table_joins`, `joins`, `over` and the `changelog` of aggregates, rules) -> `lower::check`.

mod blame;
mod catalog;
mod changelog;
mod checks;
mod codes;
mod ddl;
mod depth;
mod dialect;
mod emission;
mod errors;
mod fields;
mod filters;
mod functions;
mod growth;
mod guard;
mod insert;
mod interval;
mod joins;
mod late_rows;
mod limits;
mod lower;
mod macros;
mod nullability;
mod optimize;
mod options;
mod over;
mod parse;
mod planner_thread;
mod portability;
mod prepass;
mod program;
mod projections;
mod query;
mod row_time;
mod select;
mod table_joins;
mod text;
mod time_calls;
mod tops;
mod types;
mod unnest;
mod walk;
mod window_calls;
mod window_groups;
mod window_origin;
mod window_ranks;
mod window_rows;
mod window_spec;
mod window_tables;

use postrider_core::suggest;

pub use planner_thread::{check_portability, plan_program, plan_query, plan_tables};
pub use portability::Engine;
