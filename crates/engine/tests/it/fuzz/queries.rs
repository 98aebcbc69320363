//! Programs that are right.

use std::fmt::Write;

use super::{
    expressions::{Column, Type, column, expr, interval},
    random::Random,
};

const TABLES: &str = "\
CREATE TABLE events (
  k TEXT NOT NULL, n BIGINT, x DOUBLE, flag BOOLEAN, tags TEXT[], data JSON, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'collector', idle_timeout = INTERVAL '1 minute');
CREATE TABLE orders (
  k TEXT NOT NULL, n BIGINT NOT NULL, x DOUBLE NOT NULL, item STRUCT<sku TEXT, weight DOUBLE>, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'single_file', path = 'orders.ndjson');
CREATE TABLE customers (k TEXT PRIMARY KEY, city TEXT, n BIGINT) WITH (connector = 'single_file', path = 'customers.csv', format = 'csv');
CREATE TABLE prices (k TEXT PRIMARY KEY, x DOUBLE, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) WITH (connector = 'collector', stream = 'prices');
CREATE TABLE accounts (k TEXT PRIMARY KEY, n BIGINT, x DOUBLE) WITH (connector = 'single_file', path = 'accounts.ndjson', format = 'debezium_json');
";
/// How deep queries are within each other.
const DEPTH: usize = 3;
/// How deep expressions are.
const LEVELS: usize = 3;

/// A query, and what comes out of it.
#[derive(Debug, Clone)]
struct Rows {
    /// What can stand behind FROM: a name, or a query in parentheses.
    from: String,
    /// Among them always `k`, a text.
    columns: Vec<Column>,
    /// The column that is the event time, if one is.
    time: Option<String>,
    /// Whether that column is the end of a window: a nanosecond behind the time of its results.
    at_end: bool,
    /// Whether they come in time, so that windows can follow.
    timed: bool,
    /// Whether they are never taken back.
    is_final: bool,
}

impl Rows {
    fn of(select: &str, columns: Vec<Column>) -> Self {
        let from = format!("({select})");
        Self { from, columns, time: None, at_end: false, timed: true, is_final: true }
    }

    fn at(self, time: &str) -> Self {
        Self { time: Some(time.to_owned()), ..self }
    }

    fn at_end(self, time: &str) -> Self {
        Self { at_end: true, ..self.at(time) }
    }
}

/// A right program.
pub(crate) fn program(random: &mut Random) -> String {
    let mut sql = TABLES.to_owned();
    let mut named = vec![
        Rows {
            from: "events".to_owned(),
            columns: vec![
                column("k", Type::Text),
                column("n", Type::Int),
                column("x", Type::Float),
                column("flag", Type::Bool),
                column("tags", Type::List),
                column("data", Type::Json),
                column("ts", Type::Time),
            ],
            time: Some("ts".to_owned()),
            at_end: false,
            timed: true,
            is_final: true,
        },
        Rows {
            from: "orders".to_owned(),
            columns: vec![
                column("k", Type::Text),
                column("n", Type::Int),
                column("x", Type::Float),
                column("ts", Type::Time),
            ],
            time: Some("ts".to_owned()),
            at_end: false,
            timed: true,
            is_final: true,
        },
    ];
    if random.one_in(4) {
        let body =
            expr(Type::Int, &[column("a", Type::Int), column("b", Type::Text)], LEVELS, random);
        writeln!(sql, "CREATE FUNCTION own(a, b) RETURN {body};").unwrap();
    }
    for index in 0..random.below(3) {
        let rows = rows(&named, DEPTH, random);
        writeln!(sql, "CREATE VIEW v{index} AS SELECT * FROM {} AS r;", rows.from).unwrap();
        named.push(Rows { from: format!("v{index}"), ..rows });
    }
    for index in 0..=random.below(2) {
        let rows = rows(&named, DEPTH, random);
        let select = format!("SELECT * FROM {} AS r", rows.from);
        if random.one_in(2) {
            writeln!(sql, "{select};").unwrap();
        } else {
            let format = if rows.is_final { "json" } else { "debezium_json" };
            writeln!(
                sql,
                "CREATE TABLE out{index} WITH (connector = 'single_file', path = 'o{index}', format = '{format}');\n\
                 INSERT INTO out{index} {select};"
            )
            .unwrap();
        }
    }
    sql
}

/// Makes rows of others; the second are those that have a name.
type Step = fn(&Rows, &[Rows], &mut Random) -> Rows;

fn rows(named: &[Rows], depth: usize, random: &mut Random) -> Rows {
    if depth == 0 {
        return random.pick(named).clone();
    }
    let input = rows(named, depth - 1, random);
    let steps: &[Step] = match (&input.time, input.timed, input.is_final) {
        (Some(_), _, true) => &[
            unbounded,
            changes,
            look_up,
            version,
            unnest,
            late,
            now,
            project,
            unite,
            window,
            nearby,
            absent,
            look_back,
            rank,
            total,
            distinct,
            table_function,
        ],
        (None, true, true) => &[project, window, total, distinct],
        _ => &[project, total],
    };
    random.pick(steps)(&input, named, random)
}

/// A projection and a filter.
fn project(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let mut list = vec!["r.k AS k".to_owned()];
    let mut columns = vec![column("k", Type::Text)];
    let scope = scope("r", &input.columns);
    if let Some(time) = &input.time {
        list.push(format!("r.{time} AS ts"));
        columns.push(column("ts", Type::Time));
    }
    for (index, of) in [Type::Int, Type::Float, Type::Text, Type::Bool].into_iter().enumerate() {
        if random.one_in(2) {
            list.push(format!("{} AS c{index}", expr(of, &scope, LEVELS, random)));
            columns.push(column(&format!("c{index}"), of));
        }
    }
    let mut select = format!("SELECT {} FROM {} AS r", list.join(", "), input.from);
    if random.one_in(2) {
        write!(select, " WHERE {}", expr(Type::Bool, &scope, LEVELS, random)).unwrap();
    }
    let time = input.time.as_ref().map(|_| "ts".to_owned());
    Rows {
        time,
        at_end: input.at_end,
        timed: input.timed,
        is_final: input.is_final,
        ..Rows::of(&select, columns)
    }
}

/// Two streams in one.
fn unite(input: &Rows, named: &[Rows], random: &mut Random) -> Rows {
    let others: Vec<_> = named
        .iter()
        .filter(|rows| rows.time.is_some() && rows.is_final && rows.at_end == input.at_end)
        .chain([input])
        .collect();
    let other = random.pick(&others);
    let mut side = |rows: &Rows| {
        let time = rows.time.as_deref().unwrap();
        let n = expr(Type::Int, &scope("r", &rows.columns), LEVELS - 1, random);
        format!("SELECT r.k AS k, {n} AS n, r.{time} AS ts FROM {} AS r", rows.from)
    };
    let select = format!("{} UNION ALL {}", side(input), side(other));
    let rows = Rows::of(
        &select,
        vec![column("k", Type::Text), column("n", Type::Int), column("ts", Type::Time)],
    )
    .at("ts");
    Rows { at_end: input.at_end, ..rows }
}

/// An aggregate of a window.
fn window(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let call = match random.below(6) {
        0 => format!("session({})", interval(random)),
        1 => format!("hop(INTERVAL '1 minute', INTERVAL '{} minutes')", 1 + random.below(90)),
        2 => "cumulate(INTERVAL '1 hour', INTERVAL '1 day')".to_owned(),
        3 => "tumble(INTERVAL '1 day', INTERVAL '8 hours', 'Europe/Berlin')".to_owned(),
        4 => "tumble(INTERVAL '1 hour', INTERVAL '10 minutes')".to_owned(),
        _ => format!("tumble({})", interval(random)),
    };
    let (aggregates, more) = aggregates(input, random);
    let having = if random.one_in(2) {
        format!(" HAVING count(*) > {}", random.below(5))
    } else {
        String::new()
    };
    let inner = format!(
        "SELECT r.k AS k, {call} AS w{aggregates} FROM {} AS r GROUP BY r.k, w{having}",
        input.from
    );
    let names: String = more.iter().map(|column| format!(", i.{}", column.name)).collect();
    let select = format!("SELECT i.k, i.w.end AS ts{names} FROM ({inner}) AS i");
    let columns = [column("k", Type::Text), column("ts", Type::Time)].into_iter().chain(more);
    Rows::of(&select, columns.collect()).at_end("ts")
}

/// The same in Flink's words, over a table.
fn table_function(_: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let table = *random.pick(&["events", "orders"]);
    let call = *random.pick(&[
        "TUMBLE(TABLE {}, DESCRIPTOR(ts), INTERVAL '1' HOUR)",
        "HOP(TABLE {}, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '1' HOUR)",
        "CUMULATE(TABLE {}, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY)",
        "SESSION(TABLE {} PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTE)",
    ]);
    let call = call.replace("{}", table);
    let select = format!(
        "SELECT k, window_end AS ts, count(*) AS n, sum(x) AS x FROM TABLE({call}) GROUP BY k, window_start, window_end"
    );
    let columns = vec![
        column("k", Type::Text),
        column("ts", Type::Time),
        column("n", Type::Int),
        column("x", Type::Float),
    ];
    Rows::of(&select, columns).at_end("ts")
}

/// A join within a time.
fn nearby(input: &Rows, named: &[Rows], random: &mut Random) -> Rows {
    let others: Vec<_> = named.iter().filter(|rows| rows.time.is_some() && rows.is_final).collect();
    let other = random.pick(&others);
    let kind = *random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let (a, b) = (input.time.as_deref().unwrap(), other.time.as_deref().unwrap());
    let bounds = bounds(a, b, random);
    let select = format!(
        "SELECT coalesce(a.k, b.k, '') AS k, a.{a} AS at, b.{b} AS until FROM {} AS a {kind} {} AS b ON a.k = b.k AND {bounds}",
        input.from, other.from
    );
    Rows::of(
        &select,
        vec![column("k", Type::Text), column("at", Type::Time), column("until", Type::Time)],
    )
}

fn bounds(a: &str, b: &str, random: &mut Random) -> String {
    let (before, after) = (interval(random), interval(random));
    match random.below(3) {
        0 => format!("b.{b} BETWEEN a.{a} AND a.{a} + {after}"),
        1 => format!("b.{b} BETWEEN a.{a} - {before} AND a.{a} + {after}"),
        _ => format!("b.{b} > a.{a} AND b.{b} < a.{a} + {after}"),
    }
}

/// Rows with a partner, or without one.
fn absent(input: &Rows, named: &[Rows], random: &mut Random) -> Rows {
    let others: Vec<_> = named.iter().filter(|rows| rows.time.is_some() && rows.is_final).collect();
    let other = random.pick(&others);
    let (a, b) = (input.time.as_deref().unwrap(), other.time.as_deref().unwrap());
    let not = if random.one_in(2) { "NOT " } else { "" };
    let bounds = bounds(a, b, random);
    let select = format!(
        "SELECT a.k AS k, a.{a} AS at FROM {} AS a WHERE {not}EXISTS (SELECT 1 FROM {} AS b WHERE b.k = a.k AND {bounds})",
        input.from, other.from
    );
    Rows::of(&select, vec![column("k", Type::Text), column("at", Type::Time)])
}

/// OVER.
fn look_back(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let time = input.time.as_deref().unwrap();
    let scope = scope("r", &input.columns);
    let (n, x) = (expr(Type::Int, &scope, 1, random), expr(Type::Float, &scope, 1, random));
    let over = format!("OVER (PARTITION BY r.k ORDER BY r.{time}");
    let call = match random.below(5) {
        0 => format!("lag({n}) {over})"),
        1 => format!("row_number() {over})"),
        2 => format!(
            "count({x}) {over} RANGE BETWEEN {} PRECEDING AND CURRENT ROW)",
            interval(random)
        ),
        3 => format!("sum({n}) {over} ROWS 3 PRECEDING)"),
        _ => format!("first_value({n}) {over})"),
    };
    let qualify =
        if random.one_in(3) { format!(" QUALIFY row_number() {over}) < 5") } else { String::new() };
    let select =
        format!("SELECT r.k AS k, r.{time} AS ts, {call} AS n FROM {} AS r{qualify}", input.from);
    let rows = Rows::of(
        &select,
        vec![column("k", Type::Text), column("ts", Type::Time), column("n", Type::Int)],
    )
    .at("ts");
    Rows { at_end: input.at_end, ..rows }
}

/// The first of a window.
fn rank(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let function = *random.pick(&["row_number", "rank", "dense_rank"]);
    let select = format!(
        "SELECT g.k, g.w.end AS ts, g.nth FROM (SELECT i.k, i.w, {function}() OVER (PARTITION BY i.w ORDER BY i.n DESC) AS nth \
         FROM (SELECT r.k AS k, tumble({}) AS w, count(*) AS n FROM {} AS r GROUP BY r.k, w) AS i) AS g WHERE g.nth <= {}",
        interval(random),
        input.from,
        1 + random.below(3)
    );
    Rows::of(
        &select,
        vec![column("k", Type::Text), column("ts", Type::Time), column("nth", Type::Int)],
    )
    .at_end("ts")
}

/// A join of everything so far.
fn unbounded(input: &Rows, named: &[Rows], random: &mut Random) -> Rows {
    let other = random.pick(named);
    let kind = *random.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
    let stays = input.is_final && other.is_final && kind == "JOIN";
    let select = if random.one_in(3) {
        let not = if random.one_in(2) { "NOT " } else { "" };
        format!(
            "SELECT a.k AS k FROM {} AS a WHERE {not}EXISTS (SELECT 1 FROM {} AS b WHERE b.k = a.k)",
            input.from, other.from
        )
    } else {
        format!(
            "SELECT coalesce(a.k, b.k, '') AS k FROM {} AS a {kind} {} AS b ON a.k = b.k",
            input.from, other.from
        )
    };
    let stays = stays && !select.contains("EXISTS");
    Rows { timed: false, is_final: stays, ..Rows::of(&select, vec![column("k", Type::Text)]) }
}

/// A table of changes, alone.
fn changes(_: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let columns = [column("k", Type::Text), column("n", Type::Int), column("x", Type::Float)];
    let condition = expr(Type::Bool, &scope("r", &columns), LEVELS, random);
    let select =
        format!("SELECT r.k AS k, r.n AS n, r.x AS x FROM accounts AS r WHERE {condition}");
    Rows { timed: false, is_final: false, ..Rows::of(&select, columns.to_vec()) }
}

/// A table that is looked up.
fn look_up(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let kind = *random.pick(&["JOIN", "LEFT JOIN"]);
    let time = input.time.as_ref().map_or_else(String::new, |time| format!(", r.{time} AS ts"));
    let select = format!(
        "SELECT r.k AS k, c.city AS city, c.n AS n{time} FROM {} AS r {kind} customers AS c ON c.k = r.k",
        input.from
    );
    let mut columns =
        vec![column("k", Type::Text), column("city", Type::Text), column("n", Type::Int)];
    if input.time.is_some() {
        columns.push(column("ts", Type::Time));
    }
    let time = input.time.as_ref().map(|_| "ts".to_owned());
    Rows { time, at_end: input.at_end, timed: input.timed, ..Rows::of(&select, columns) }
}

/// The version of a row's own time.
fn version(_: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let kind = *random.pick(&["JOIN", "LEFT JOIN"]);
    let table = *random.pick(&["events", "orders"]);
    let select = format!(
        "SELECT r.k AS k, p.x AS x, r.ts AS ts FROM {table} AS r {kind} prices FOR SYSTEM_TIME AS OF r.ts AS p ON p.k = r.k"
    );
    Rows::of(
        &select,
        vec![column("k", Type::Text), column("x", Type::Float), column("ts", Type::Time)],
    )
    .at("ts")
}

/// A row of each item of a list.
fn unnest(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let time = input.time.as_deref().unwrap();
    let list = expr(Type::List, &scope("r", &input.columns), LEVELS, random);
    let select =
        format!("SELECT r.k AS k, unnest({list}) AS item, r.{time} AS ts FROM {} AS r", input.from);
    let columns =
        vec![column("k", Type::Text), column("item", Type::Text), column("ts", Type::Time)];
    Rows { at_end: input.at_end, ..Rows::of(&select, columns).at("ts") }
}

/// What came late.
fn late(_: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let table = *random.pick(&["events", "orders"]);
    let select = format!("SELECT k, n, x FROM late_rows({table})");
    Rows::of(
        &select,
        vec![column("k", Type::Text), column("n", Type::Int), column("x", Type::Float)],
    )
}

/// The clock at which rows pass.
fn now(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let time = input.time.as_deref().unwrap();
    let select = format!(
        "SELECT r.k AS k, r.{time} AS ts, now() AS seen FROM {} AS r WHERE r.{time} > now() - {}",
        input.from,
        interval(random)
    );
    let columns =
        vec![column("k", Type::Text), column("ts", Type::Time), column("seen", Type::Time)];
    Rows { at_end: input.at_end, ..Rows::of(&select, columns).at("ts") }
}

/// An aggregate that is never over.
fn total(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let (aggregates, more) = aggregates(input, random);
    let select = format!("SELECT r.k AS k{aggregates} FROM {} AS r GROUP BY r.k", input.from);
    let columns = std::iter::once(column("k", Type::Text)).chain(more).collect();
    Rows { is_final: false, timed: false, ..Rows::of(&select, columns) }
}

/// Each row once.
fn distinct(input: &Rows, _: &[Rows], random: &mut Random) -> Rows {
    let n = expr(Type::Int, &scope("r", &input.columns), LEVELS, random);
    let select = format!("SELECT DISTINCT r.k AS k, {n} AS n FROM {} AS r", input.from);
    // Final, but without a time that windows could go by.
    Rows {
        timed: false,
        is_final: false,
        ..Rows::of(&select, vec![column("k", Type::Text), column("n", Type::Int)])
    }
}

/// Such as `, count(*) AS n, sum(r.x) AS a1`, and its columns.
fn aggregates(input: &Rows, random: &mut Random) -> (String, Vec<Column>) {
    let scope = scope("r", &input.columns);
    let mut list = ", count(*) AS n".to_owned();
    let mut columns = vec![column("n", Type::Int)];
    for index in 0..random.below(3) {
        let (n, x) = (expr(Type::Int, &scope, 2, random), expr(Type::Float, &scope, 2, random));
        let (text, condition) =
            (expr(Type::Text, &scope, 2, random), expr(Type::Bool, &scope, 2, random));
        let (call, of) = match random.below(7) {
            0 => (format!("sum({n})"), Type::Int),
            1 => (format!("max({x})"), Type::Float),
            2 => (format!("avg({x})"), Type::Float),
            3 => (format!("count(DISTINCT {text})"), Type::Int),
            4 => (format!("min({text})"), Type::Text),
            5 => (format!("count(*) FILTER (WHERE {condition})"), Type::Int),
            _ => (format!("array_agg({text})"), Type::List),
        };
        write!(list, ", {call} AS a{index}").unwrap();
        columns.push(column(&format!("a{index}"), of));
    }
    (list, columns)
}

fn scope(alias: &str, columns: &[Column]) -> Vec<Column> {
    columns.iter().map(|c| column(&format!("{alias}.{}", c.name), c.of)).collect()
}
