//! The bounds on a program. They keep parser and planner from running out of stack, memory or
//! time on a text that nobody would write by hand; raise them when somebody does.

/// Bytes of a program. A pipeline of twenty triggers takes about a tenth of it.
pub(crate) const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Tokens of a program, comments and white space aside.
pub(crate) const MAX_TOKENS: usize = 20_000;
/// Parentheses, brackets, CASEs and prefix operators around one token. The parser and every
/// pass of the planner recurse on them.
pub(crate) const MAX_NESTING: usize = 100;
/// Operators in a row. A flat chain becomes a tree as deep as it is long.
pub(crate) const MAX_CHAIN: usize = 500;
/// JOINs of a statement: planning time grows with the orders they can be run in.
pub(crate) const MAX_JOINS: usize = 8;
/// UNIONs of a statement: each is one more level of a tree.
pub(crate) const MAX_UNIONS: usize = 64;
/// Tables that a statement reads once views and CTEs are expanded. Forty CTEs that read the one
/// before twice would otherwise be 10^12 tables.
pub(crate) const MAX_RELATIONS: u64 = 256;
/// Windows that a row of a `hop` is in: one a minute for a week. Each row is emitted once for every window, and each
/// window is computed from as many slices.
pub(crate) const MAX_WINDOWS_PER_ROW: u64 = 7 * 24 * 60;
/// Nested calls of the parser that [`MAX_NESTING`] and [`MAX_CHAIN`] together can ask for.
pub(crate) const PARSER_RECURSION: usize = 1_200;
/// Stack of the thread that parses and plans: what the nesting above needs in an unoptimized
/// build, with room to spare.
pub(crate) const PLANNER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// How many times longer than its input `repeat`, `lpad`, `replace`.. may make a value, one feeding
/// another: the planner computes constant calls itself, on literals as long as a program may be.
pub(crate) const MAX_GROWTH: u64 = 1 << 12;
/// How long a text is taken to be where it isn't known before rows arrive.
pub(crate) const ASSUMED_LENGTH: u64 = 64;
/// How unlike a name may be to be suggested instead: a third of its letters.
pub(crate) const SUGGESTION_DISTANCE_DIVISOR: usize = 3;
