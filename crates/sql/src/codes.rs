//! The diagnostic codes of this crate. A code never changes its meaning.

/// The text or one of its statements is longer than a program may be.
pub(crate) const TOO_LONG: &str = "PR0101";
/// A character or a quote that no token starts or ends with.
pub(crate) const BAD_TOKEN: &str = "PR0102";
/// Parentheses, CASE, NOT or signs nested deeper than a program may nest them.
pub(crate) const TOO_DEEP: &str = "PR0103";
/// An expression with more operators in a row than a program may chain.
pub(crate) const TOO_CHAINED: &str = "PR0104";
/// A statement that reads more tables than it may.
pub(crate) const TOO_WIDE: &str = "PR0105";
/// The parser expected something else here.
pub(crate) const SYNTAX: &str = "PR0106";
/// A statement or clause that Postrider's SQL doesn't have.
pub(crate) const UNSUPPORTED: &str = "PR0107";
/// A program without a query.
pub(crate) const NO_QUERY: &str = "PR0108";
/// The planner itself failed.
pub(crate) const FAULT: &str = "PR0199";

/// A table that nobody declared.
pub(crate) const UNKNOWN_TABLE: &str = "PR0201";
/// A name that is declared twice.
pub(crate) const DUPLICATE_NAME: &str = "PR0202";
/// A column that its table doesn't have.
pub(crate) const UNKNOWN_COLUMN: &str = "PR0203";
/// A column name that several tables have.
pub(crate) const AMBIGUOUS_COLUMN: &str = "PR0204";
/// A type that columns can't have.
pub(crate) const BAD_TYPE: &str = "PR0205";
/// A wrong `WATERMARK FOR`.
pub(crate) const BAD_WATERMARK: &str = "PR0206";
/// A wrong generated column.
pub(crate) const BAD_GENERATED: &str = "PR0207";
/// A wrong PRIMARY KEY.
pub(crate) const BAD_KEY: &str = "PR0208";
/// A table that no query uses.
pub(crate) const UNUSED_TABLE: &str = "PR0209";

/// A wrong `METADATA FROM` column.
pub(crate) const BAD_METADATA: &str = "PR0212";

/// A table of changes that can't be read like this.
pub(crate) const BAD_CHANGES: &str = "PR0213";

/// An option given twice, or whose value is no literal.
pub(crate) const BAD_OPTION: &str = "PR0302";
/// A setting that does not exist, or whose value makes no sense.
pub(crate) const BAD_SETTING: &str = "PR0306";
/// A table without `connector`.
pub(crate) const NO_CONNECTOR: &str = "PR0303";

/// An expression that the planner refuses, mostly for its types.
pub(crate) const BAD_EXPRESSION: &str = "PR0401";
/// A source that is written, or a sink that is read.
pub(crate) const WRONG_ROLE: &str = "PR0402";
/// An INSERT whose columns don't fit its table.
pub(crate) const INSERT_COLUMNS: &str = "PR0403";
/// An INSERT whose value can't become the column's type, or may be NULL where the column is not.
pub(crate) const INSERT_TYPE: &str = "PR0404";
/// A function that does not exist.
pub(crate) const UNKNOWN_FUNCTION: &str = "PR0405";
/// A function whose result differs from call to call.
pub(crate) const VOLATILE: &str = "PR0406";
/// `tumble`, `hop`, `cumulate` or `session` where no window can be.
pub(crate) const WINDOW_PLACE: &str = "PR0407";
/// Two windows in one GROUP BY.
pub(crate) const TWO_WINDOWS: &str = "PR0408";
/// A join in which nothing is equal, or whose rows never meet.
pub(crate) const UNBOUNDED_JOIN: &str = "PR0415";
/// Window functions that don't take the rows of a stream in the order of time.
pub(crate) const ORDER_OF_TIME: &str = "PR0416";
/// A window function that looks at rows to come, or at more of those before than can be kept.
pub(crate) const ENDLESS_OVER: &str = "PR0417";
/// Window functions that keep something of every key as long as the pipeline runs.
pub(crate) const KEPT_FOR_EVER: &str = "PR0418";
/// A changelog into a table that does not say how changes are written.
pub(crate) const NO_CHANGELOG: &str = "PR0419";
/// A window's length that is no constant or makes no sense.
pub(crate) const WINDOW_LENGTH: &str = "PR0409";
/// Rows that are never final, such as those of an aggregate without a window, where final rows are taken only.
pub(crate) const ENDLESS: &str = "PR0410";
/// Something a bounded query may do and a stream can't yet.
pub(crate) const NOT_ON_STREAMS: &str = "PR0411";
/// A window over a table without event time.
pub(crate) const NO_EVENT_TIME: &str = "PR0412";
/// A function that could make values of any size.
pub(crate) const TOO_LARGE: &str = "PR0413";
/// A comparison that is always NULL.
pub(crate) const SUSPICIOUS: &str = "PR0414";

/// `row_time()` where rows have no event time.
pub(crate) const ROW_TIME_PLACE: &str = "PR0430";
/// `now()` where no step knows the clock.
pub(crate) const CLOCK_PLACE: &str = "PR0445";
/// `late_rows(..)` of something that has no late rows.
pub(crate) const LATE_ROWS: &str = "PR0446";
/// Windows whose results can't leave early or be corrected, and are told to.
pub(crate) const NEVER_REVISED: &str = "PR0447";
/// A CREATE FUNCTION that can't work.
pub(crate) const BAD_FUNCTION: &str = "PR0431";
/// A call that does not fit the CREATE FUNCTION.
pub(crate) const BAD_CALL: &str = "PR0432";

/// `FOR SYSTEM_TIME AS OF` where no version of a table can be looked up.
pub(crate) const NO_VERSION: &str = "PR0433";
/// A table that is looked up otherwise than by its whole primary key.
pub(crate) const NOT_BY_KEY: &str = "PR0434";

/// A table that is looked up as it is, where it would have to be the stream.
pub(crate) const LOOKUP_SIDE: &str = "PR0435";
/// A TEMPORARY table that can't be looked up, or is written.
pub(crate) const BAD_TEMPORARY: &str = "PR0436";

/// A memory table that is read before it is filled, filled twice, or declared with what it can't have.
pub(crate) const MEMORY_TABLE: &str = "PR0437";

/// Something that another engine does not have.
pub(crate) const NOT_PORTABLE: &str = "PR0701";
/// Something that means something else on another engine.
pub(crate) const MEANS_ANOTHER: &str = "PR0702";

/// A join that remembers each row for a day because nobody said how long.
pub(crate) const JOIN_OF_A_DAY: &str = "PR0440";

/// Email to recipients that anybody can name.
pub(crate) const OPEN_RECIPIENTS: &str = "PR0550";
/// An email sink's column that no template could name.
pub(crate) const UNNAMED_VARIABLE: &str = "PR0551";
