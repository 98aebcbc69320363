//! The bounds on a program. They keep parser and planner from running out of stack, memory or
//! time on a text that nobody would write by hand; raise them when somebody does.

/// Bytes of a program. A pipeline of twenty triggers takes about a tenth of it.
pub(crate) const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Tokens of a program, comments and white space aside; also the parts of expressions that calls of its functions become.
pub(crate) const MAX_TOKENS: usize = 20_000;
/// Parentheses, brackets, CASEs and prefix operators around one token. The parser and every
/// pass of the planner recurse on them.
pub(crate) const MAX_NESTING: usize = 100;
/// Operators in a row, those in parentheses before them included: a flat chain becomes a tree as deep as it is long. Also the levels of
/// an expression once functions of the program are put in.
pub(crate) const MAX_CHAIN: usize = 500;
/// Steps of a JSONPath. Reading a text recurses once a step, and counts an array anew for each index from its end.
pub(crate) const MAX_PATH_STEPS: usize = 100;
/// JOINs of a statement: planning time grows with the orders they can be run in.
pub(crate) const MAX_JOINS: usize = 8;
/// UNIONs of a statement: each is one more level of a tree.
pub(crate) const MAX_UNIONS: usize = 64;
/// Tables that a statement reads once views and CTEs are expanded. Forty CTEs that read the one
/// before twice would otherwise be 10^12 tables.
pub(crate) const MAX_RELATIONS: u64 = 256;
/// Queries that are built on each other, views and CTEs included: each is a few more levels of the plan that every pass
/// walks, for each statement that reads the last of them.
pub(crate) const MAX_QUERY_DEPTH: u64 = 100;
/// Levels of one expression in a planned query. Expressions of queries that are built on each other become one, and workers
/// evaluate it recursively, on stacks of 2 MiB: this leaves each level 4 KiB, which an unoptimized build needs.
pub(crate) const MAX_EXPRESSION_DEPTH: usize = 512;
/// How often a value may stand in an expression because COALESCE, BETWEEN and short IN lists, each of which the optimizer
/// writes out with its operand twice, are within each other: five levels. Its time grows faster than the expression.
pub(crate) const MAX_COPIES: u64 = 1 << 5;
/// Windows that a row of a `hop` is in: one a minute for a week. Each row is emitted once for every window, and each
/// window is computed from as many slices.
pub(crate) const MAX_WINDOWS_PER_ROW: u64 = 7 * 24 * 60;
/// Windows that a row of a window table function is in, where each gets a copy of it because no aggregate takes it as it is. A
/// batch is so many times as large then.
pub(crate) const MAX_COPIES_OF_A_ROW: u64 = 64;
/// A step of a `cumulate`, in nanoseconds: twice as many numbers as there are steps in all of time must fit into 64 bits.
pub(crate) const MIN_STEP_NS: i64 = 1_000;
/// Nested calls of the parser that [`MAX_NESTING`] and [`MAX_CHAIN`] together can ask for.
pub(crate) const PARSER_RECURSION: usize = 1_200;
/// Stack of the thread that parses and plans: what the nesting above needs in an unoptimized
/// build, with room to spare.
pub(crate) const PLANNER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// How many times longer than its input `repeat`, `lpad`, `replace`.. may make a value, one feeding
/// another or itself (`a || a`): the planner computes constant calls itself, on literals as long as a program may be.
pub(crate) const MAX_GROWTH: u64 = 1 << 12;
/// How long a text is taken to be where it isn't known before rows arrive.
pub(crate) const ASSUMED_LENGTH: u64 = 64;
/// What a key of a window function costs beside its own bytes and what is kept for it: an entry of a table.
pub(crate) const PARTITION_BYTES: u64 = 160;
/// How unlike a name may be to be suggested instead: a third of its letters.
pub(crate) const SUGGESTION_DISTANCE_DIVISOR: usize = 3;
