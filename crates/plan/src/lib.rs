//! What a program means: its tables, its queries, and the relational nodes that SQL has no word for.
//!
//! | word | meaning |
//! |---|---|
//! | [`Program`] | a planned pipeline: every table it names, every query it runs |
//! | [`Query`] | a plan and the sink that takes its rows |
//! | [`Table`] | one `CREATE TABLE`: columns, connector, options, watermark |
//! | [`WindowAggregate`] | an aggregate whose groups include an event-time [`Window`] |
//! | [`WindowRows`] | rows, once for each window that they are in |
//! | [`LateRows`] | the rows of a table that are late |
//! | [`WindowRank`] | the ranks of a window's results within it |
//! | [`IntervalJoin`] | a join of two streams whose event times are within [`TimeBounds`] |
//! | [`TableJoin`] | a join of a stream with a table that is looked up by its primary key |
//! | [`UpdatingAggregate`] | an aggregate without a window, whose rows change |
//! | [`UpdatingJoin`] | a join without a bound of time, whose rows may change |
//! | [`UpdatingTop`] | the first rows of each key, which change |
//! | [`Over`] | window functions over the rows of a stream, `OVER (PARTITION BY .. ORDER BY ts ..)`, and what [`Memory`] they need |
//! | [`RowTime`] | `row_time()`, in whose place the engine puts the time of a row |
//! | [`EpochClock`] | `now()` and its kin, in whose place the engine puts the reading of the clock of an epoch |
//! | [`StreamTable`] | a [`Table`] as DataFusion's planner sees it |
//!
//! Owns: these types. Does not own: SQL text (`postrider-sql` makes programs) or execution
//! (`postrider-engine` runs them); the two meet only here.
//!
//! Invariants: event time is no column. The engine carries a time beside each row, so plans are
//! ordinary relational plans, and a projection can't lose the time. The plan of a [`Query`] is
//! analyzed and optimized, holds no scalar window call, and yields exactly the columns of its sink.

mod changes;
mod emission;
mod epoch_clock;
mod interval_join;
mod late_rows;
mod over;
mod program;
mod row_time;
mod table;
mod table_join;
mod updating_aggregate;
mod updating_join;
mod updating_top;
mod window;
mod window_aggregate;
mod window_rank;
mod window_rows;
mod zone;

pub use changes::is_updating;
pub use emission::Emission;
pub use epoch_clock::EpochClock;
pub use interval_join::{IntervalJoin, TimeBounds};
pub use late_rows::LateRows;
pub use over::{Endless, KeptRows, Memory, Over, range_length};
pub use program::{MaterializedView, Program, Query, SinkTarget};
pub use row_time::RowTime;
pub use table::{
    AtEnd, BadData, Column, CommonOptions, StreamTable, Table, TableRole, WatermarkDef,
};
pub use table_join::{Lookup, TableJoin};
pub use updating_aggregate::UpdatingAggregate;
pub use updating_join::UpdatingJoin;
pub use updating_top::UpdatingTop;
pub use window::{Period, Window, window_type};
pub use window_aggregate::WindowAggregate;
pub use window_rank::{Ranking, WindowRank};
pub use window_rows::WindowRows;
pub use zone::Zone;
