//! What `explain` says about a program.

use postrider_core::PipelineName;
use postrider_engine::explain_text;

fn explain(select: &str) -> String {
    let sql = format!(
        "CREATE TABLE visits (email TEXT, n BIGINT, price DOUBLE, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
           WITH (connector = 'generator', rows = 1);
         CREATE TABLE o WITH (connector = 'blackhole');
         INSERT INTO o {select};"
    );
    let program = postrider_sql::plan_program(&sql, PipelineName("test".to_owned()));
    let text = explain_text(&program.unwrap_or_else(|errors| panic!("{errors}\n{sql}")));
    text.unwrap_or_else(|errors| panic!("{errors}\n{sql}"))
}

/// The condition of a query over one table.
fn condition(filter: &str) -> String {
    let text = explain(&format!("SELECT email FROM visits WHERE {filter}"));
    let step = text.lines().find_map(|line| line.trim().strip_prefix("-> where ")).unwrap();
    let (condition, _) = step.rsplit_once(", to ").unwrap();
    condition.trim_end_matches(", compute columns").to_owned()
}

#[test]
fn conditions_read_as_they_were_written() {
    for filter in [
        "email = 'bob@shop.com'",
        "email = 'O''Hara @1.5'",
        "email LIKE '%@shop.com'",
        "email IN ('a@b.c', 'd.e', '(SET) ([f])', 'g', 'h')",
        "n NOT IN (1, 2, 3, 4, 5)",
        "lower(email) = 'a.b'",
        "CASE WHEN n = 1 THEN email ELSE 'x.y' END = 'q.r'",
        "n > 3 AND price < 2.5",
        "n + 1 IS NULL",
        "n - (n - 1) = 2",
        "(n = 1 OR n = 2) AND price > 2.5",
        "ts > '2026-01-01T00:00:00'",
    ] {
        assert_eq!(condition(filter), filter);
    }
}

#[test]
fn columns_are_named_without_their_table_and_lengths_of_time_in_words() {
    assert_eq!(condition("visits.email = 'visits.email'"), "email = 'visits.email'");
    assert_eq!(
        condition("ts - INTERVAL '5 minutes' > TIMESTAMP '2026-01-01'"),
        "ts - INTERVAL '5 mins' > '2026-01-01T00:00:00'"
    );
}

#[test]
fn keys_and_aggregates_read_as_they_were_written() {
    let text = explain(
        "SELECT lower(email) || '.x@y' AS k,
           sum(visits.price) FILTER (WHERE visits.email != 'bob@shop.com') AS s,
           first_value(email ORDER BY ts) AS f, string_agg(email, ' NULLS FIRST') AS a
         FROM visits GROUP BY lower(email) || '.x@y', tumble(INTERVAL '1 day')
         HAVING sum(price) FILTER (WHERE email <> 'bob@shop.com') > 2.5",
    );
    let sum = "sum(price) FILTER (WHERE email != 'bob@shop.com')";
    for line in [
        "  keyed by   lower(email) || '.x@y'\n",
        &format!("  computes   {sum}\n"),
        "             first_value(email) ORDER BY [ts]\n",
        "             string_agg(email,' NULLS FIRST')\n",
        "for each lower(email) || '.x@y', dropped",
        &format!("where {sum} > 2.5, "),
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_dot_in_a_name_stays() {
    let text = explain(
        "SELECT \"a.b\", count(*) AS n FROM (SELECT email AS \"a.b\", ts FROM visits)
         GROUP BY \"a.b\", tumble(INTERVAL '1 day') HAVING \"a.b\" > 'x.y'",
    );
    assert!(text.contains("  keyed by   a.b\n"), "{text}");
    assert!(text.contains("where a.b > 'x.y', "), "{text}");
}

#[test]
fn windows_say_how_they_cut_time_and_what_they_keep() {
    let stage = |window: &str| {
        let text =
            explain(&format!("SELECT email, count(*) AS n FROM visits GROUP BY email, {window}"));
        let stage = text.split("\nstage 1 ").nth(1).unwrap();
        let state = stage.lines().find_map(|line| line.trim().strip_prefix("state "));
        (stage.lines().next().unwrap().to_owned(), state.unwrap().trim().to_owned())
    };
    for (window, what, state) in [
        (
            "cumulate(INTERVAL '1 hour', INTERVAL '1 day')",
            "windows that grow by 1 hour up to 1 day",
            "partial aggregates for each email, kept for 1 day (a result every 1 hour)",
        ),
        (
            "tumble(INTERVAL '1 day', INTERVAL '-16 hours')",
            "windows of 1 day, shifted by 8 hours",
            "partial aggregates for each email, dropped when the watermark passes the end of the 1 day window",
        ),
        (
            "tumble(INTERVAL '1 day', 'Europe/Berlin')",
            "windows of 1 day in Europe/Berlin",
            "partial aggregates for each email, dropped when the watermark passes the end of the window of 1 day",
        ),
        (
            "tumble(INTERVAL '2 months', INTERVAL '-1 day', 'UTC')",
            "windows of 2 months in UTC, shifted back by 1 day",
            "partial aggregates for each email, dropped when the watermark passes the end of the window of 2 months",
        ),
    ] {
        assert_eq!(stage(window), (what.to_owned(), state.to_owned()), "{window}");
    }
}

#[test]
fn rows_that_are_put_into_windows_say_so() {
    let text = explain(
        "SELECT email, window_end AS until FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' DAY))",
    );
    assert!(text.contains("-> put each row into its windows, compute columns, to o\n"), "{text}");
}

#[test]
fn a_window_of_each_rows_zone_and_what_is_ranked_in_a_window_are_said() {
    let text = explain(
        "SELECT email, w, n FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY w ORDER BY n DESC) AS r FROM (
             SELECT lower(email) AS email, w, sum(n) AS n FROM (
               SELECT email, tumble(INTERVAL '1 day', email) AS w, count(*) AS n FROM visits GROUP BY email, w)
             GROUP BY lower(email), w))
         WHERE r <= 3",
    );
    for line in [
        "find the day in each row's time zone, to stage 1\n",
        "stage 1 windows of 1 day in the time zone of each row\n",
        "stage 2 the windows of its input\n",
        "stage 3 the first 3 of each window by n DESC\n",
        "  keyed by   nothing: one shard\n",
        "  state      the rows of each window, until the watermark passes its end\n",
        "  -> where row_number <= 3, ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn rows_that_look_back_say_what_at_and_what_is_kept_for_them() {
    let text = explain(
        "SELECT email, lag(n) OVER w AS before, sum(price) OVER week AS week, avg(n) FILTER (WHERE n > 0) OVER last AS last
         FROM visits WINDOW w AS (PARTITION BY email ORDER BY ts), week AS (PARTITION BY email ORDER BY ts RANGE INTERVAL '7 days' PRECEDING),
           last AS (PARTITION BY email ORDER BY ts ROWS 2 PRECEDING)
         QUALIFY count(*) OVER w = 3",
    );
    for line in [
        "stage 1 each row beside those before it, in the order of ts",
        "keyed by   email",
        "computes   lag(n)",
        "           sum(price) of the last 7 days",
        "           avg(n) where n > 0 of the row and 2 before",
        "           count(*) so far",
        "state      rows until the watermark reaches them; then for 7 days more; for ever the last 2 rows, partial aggregates of all rows of each email",
        "timers     one for each key with rows that wait, fired by the watermark",
        "-> compute columns, where count(*) so far = 3, compute columns, to o",
    ] {
        assert!(text.lines().any(|found| found.trim() == line.trim()), "{line}\n{text}");
    }
}

#[test]
fn a_table_that_is_looked_up_says_what_it_keeps_and_what_rows_wait_for() {
    let sql = "CREATE TABLE visits (email TEXT, n BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts) WITH (connector = 'generator', rows = 1);
       CREATE TABLE offers (email TEXT PRIMARY KEY, price BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts) WITH (connector = 'generator', rows = 1);
       SELECT v.n, o.price FROM visits v LEFT JOIN offers FOR SYSTEM_TIME AS OF v.ts AS o ON lower(v.email) = o.email AND o.price > v.n;";
    let program = postrider_sql::plan_program(sql, PipelineName("test".to_owned())).unwrap();
    let text = explain_text(&program).unwrap();
    let stage = text.split("\nstage 1 ").nth(1).unwrap();
    let lines: Vec<_> = stage.lines().take(5).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "temporal join: the right row that was the newest at the left row's time, or NULLs",
            "keyed by   lower(email) = email",
            "if         left.n < right.price",
            "state      left rows until the watermark reaches them; right rows until it reaches a newer one of their key, the newest for ever",
            "timers     one for each left row, fired by the watermark",
        ],
        "{text}"
    );
}
