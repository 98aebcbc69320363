//! Texts that must not crash the process or hang it: each is an error with a code, or a plan.

use std::time::{Duration, Instant};

use crate::cases::{SHOP, plan};

/// Where an expression can stand.
const PLACES: [(&str, &str); 9] = [
    ("SELECT ", " AS x FROM events"),
    ("SELECT user_id FROM events WHERE ", " > 0"),
    ("INSERT INTO out SELECT user_id, ", ", ts FROM events"),
    ("CREATE VIEW v AS SELECT ", " AS x FROM events; SELECT x FROM v"),
    ("WITH c AS (SELECT ", " AS x FROM events) SELECT x FROM c"),
    ("SELECT count(*) FROM events GROUP BY tumble('1 hour') HAVING max(price) > ", ""),
    ("SELECT count(*) FROM events GROUP BY tumble('1 hour'), ", ""),
    (
        "CREATE TABLE g (price DOUBLE, y DOUBLE GENERATED ALWAYS AS (",
        ")) WITH (connector = 'generator'); SELECT y FROM g",
    ),
    ("CREATE TABLE g (price DOUBLE) WITH (connector = 'generator', x = ", "); SELECT price FROM g"),
];

fn code(sql: &str) -> Option<&'static str> {
    let sql = format!("{SHOP}{sql}");
    let started = Instant::now();
    let planned = plan(&sql);
    // A bound that no machine misses and no exponential parser meets.
    let shown: String = sql.chars().skip(SHOP.len()).take(60).collect();
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "`{shown}..` took {:?}",
        started.elapsed()
    );
    match planned {
        Ok(_) => None,
        Err(errors) => {
            let error = errors.into_iter().next().expect("an error has a diagnostic");
            if let Some(span) = &error.span {
                assert!(sql.get(span.range.clone()).is_some(), "{error} is out of the text");
            }
            Some(error.code)
        }
    }
}

/// In every place, the expression is refused with one of these codes.
fn refused(what: &str, expr: &str, codes: &[&str]) {
    for (before, after) in PLACES {
        let found = code(&format!("{before}{expr}{after}"));
        assert!(
            found.is_some_and(|found| codes.contains(&found)),
            "{what} after `{before}`: {found:?} is none of {codes:?}"
        );
    }
}

fn nest(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

const DEEP: [&str; 1] = ["PR0103"];
const LONG: [&str; 2] = ["PR0101", "PR0104"];

#[test]
fn ten_thousand_levels_are_refused() {
    for (open, close) in [
        ("(", ")"),
        ("abs(", ")"),
        ("(1 + ", ")"),
        ("CAST(", " AS INT)"),
        ("CASE WHEN ", " THEN 1 END"),
        ("[", "]"),
        ("ARRAY[", "]"),
        ("STRUCT(", ")"),
        ("{", "}"),
        ("(SELECT ", ")"),
        ("EXISTS (SELECT ", ")"),
        ("NOT ", ""),
        ("- ", ""),
        ("+ ", ""),
        ("~ ", ""),
        ("INTERVAL ", ""),
        ("NOT EXISTS ", ""),
        ("f(a => ", ")"),
        ("((SELECT 1) + ", ")"),
    ] {
        // 10,000 levels where they fit in a program, as many as fit otherwise.
        let depth = 10_000.min(60_000 / (open.len() + close.len()));
        let text = nest(open, "price", close, depth);
        refused(open, &text, &["PR0103", "PR0101"]);
    }
    refused("unbalanced", &"(".repeat(10_000), &DEEP);
    refused("unbalanced", &"CASE ".repeat(5_000), &DEEP);
}

#[test]
fn twenty_thousand_terms_are_refused() {
    for operator in [
        " + ",
        " * ",
        " || ",
        " AND ",
        " OR ",
        " = ",
        " < ",
        " % ",
        " | ",
        " IS DISTINCT FROM ",
        " LIKE ",
        "::INT + ",
        " -> ",
        ".",
        " AT TIME ZONE ",
        " COLLATE ",
    ] {
        let count = 20_000.min(60_000 / (operator.len() + 1));
        let text = vec!["1"; count].join(operator);
        refused(operator, &text, &LONG);
    }
    refused("casts", &format!("1{}", "::INT".repeat(10_000)), &LONG);
    refused("subscripts", &format!("tags{}", "[1]".repeat(10_000)), &LONG);
    refused("is null", &format!("1{}", " IS NULL".repeat(6_000)), &LONG);
}

#[test]
fn just_within_the_limits_is_planned() {
    let exprs = [
        nest("(", "price", ")", 40),
        nest("abs(", "price", ")", 40),
        vec!["1"; 400].join(" + "),
        vec!["event"; 400].join(" || "),
        vec!["event = 'x'"; 200].join(" OR "),
        (0..240).map(|n| format!("event = 'x{n}'")).collect::<Vec<_>>().join(" OR "),
        format!("event IN ({})", vec!["'x'"; 5_000].join(", ")),
        nest("CASE WHEN price > 1 THEN 1 ELSE ", "2", " END", 60),
        nest("NOT ", "true", "", 90),
        format!("CASE {} END", "WHEN price = 1 THEN 2 ".repeat(500)),
    ];
    for expr in exprs {
        let found = code(&format!("SELECT {expr} AS x FROM events"));
        assert_eq!(found, None, "{}", &expr[..60.min(expr.len())]);
    }
    let union = vec!["SELECT user_id FROM events"; 64].join(" UNION ALL ");
    assert_eq!(code(&union), None);
    let ctes: Vec<_> =
        (1..20).map(|n| format!("c{n} AS (SELECT user_id FROM c{})", n - 1)).collect();
    let ctes =
        format!("WITH c0 AS (SELECT user_id FROM events), {} SELECT * FROM c19", ctes.join(", "));
    assert_eq!(code(&ctes), None);
    assert_eq!(code(&nest("SELECT user_id FROM (", "SELECT user_id FROM events", ")", 60)), None);
}

#[test]
fn at_the_nesting_limit_nothing_runs_away() {
    // Parsers that try one reading, then another, double their work with each level.
    for (open, close) in [
        ("(", ")"),
        ("abs(", ")"),
        ("coalesce(1, ", ")"),
        ("CASE WHEN ", " THEN 1 END"),
        ("[", "]"),
        ("(1, ", ")"),
        ("STRUCT(", ")"),
        ("CAST(", " AS INT)"),
        ("(SELECT ", ")"),
        ("x IN (", ")"),
        ("position('a' IN ", ")"),
        ("extract(hour FROM ", ")"),
        ("trim(", ")"),
        ("{a: ", "}"),
    ] {
        let found = code(&format!("SELECT {} AS x FROM events", nest(open, "1", close, 97)));
        // Whatever it means, it returned.
        assert!(found != Some("PR0199"), "{open} crashed the planner");
    }
}

#[test]
fn deep_relations_are_refused_or_planned() {
    let from = |text: String| code(&format!("SELECT * FROM {text}"));
    for depth in [20, 97, 10_000] {
        for (open, close) in [("(", ")"), ("(SELECT * FROM ", ")"), ("(VALUES (1), ", ")")] {
            let depth = depth.min(60_000 / (open.len() + close.len()));
            let found = from(nest(open, "events", close, depth));
            assert!(found != Some("PR0199"), "{open} x {depth} crashed the planner");
            assert!(depth <= 100 || found.is_some(), "{open} x {depth} was planned");
        }
    }
    assert_eq!(from(["events"; 12].join(" JOIN ")), Some("PR0105"));
    assert_eq!(from(["events"; 5_000].join(", ")), Some("PR0105"));
    assert_eq!(code(&["SELECT user_id FROM events"; 66].join(" UNION ALL ")), Some("PR0105"));
    assert_eq!(code(&["SELECT 1"; 3_000].join(" UNION ")), Some("PR0105"));
}

#[test]
fn plans_that_double_with_each_cte_or_view_are_refused() {
    let ctes: Vec<_> = (1..40)
        .map(|n| {
            format!("c{n} AS (SELECT user_id FROM c{0} UNION ALL SELECT user_id FROM c{0})", n - 1)
        })
        .collect();
    let ctes =
        format!("WITH c0 AS (SELECT user_id FROM events), {} SELECT * FROM c39", ctes.join(", "));
    assert_eq!(code(&ctes), Some("PR0105"));
    let views: String = (1..40)
        .map(|n| {
            format!("CREATE VIEW c{n} AS SELECT user_id FROM c{0} UNION ALL SELECT user_id FROM c{0};\n", n - 1)
        })
        .collect();
    let views = format!("CREATE VIEW c0 AS SELECT user_id FROM events;\n{views}SELECT * FROM c39");
    assert_eq!(code(&views), Some("PR0105"));
}

#[test]
fn chains_of_views_are_refused_before_they_are_walked() {
    let views = |depth: usize| {
        let each = |n: usize| format!("CREATE VIEW v{n} AS SELECT a FROM v{};\n", n - 1);
        let views: String = (1..depth).map(each).collect();
        format!(
            "CREATE VIEW v0 AS SELECT user_id AS a FROM events;\n{views}SELECT a FROM v{};",
            depth - 1
        )
    };
    assert_eq!(code(&views(1_300)), Some("PR0103"));
    assert_eq!(code(&views(99)), None);
    // The last of a chain, read by as many statements as fit.
    let reads = "SELECT a FROM v98;\n".repeat(200);
    assert_eq!(code(&format!("{}{reads}", views(99))), None, "many reads");
    let ctes: String =
        (1..1_500).map(|n| format!(", c{n} AS (SELECT a FROM c{})", n - 1)).collect();
    let ctes = format!("WITH c0 AS (SELECT user_id AS a FROM events){ctes} SELECT a FROM c1499");
    assert_eq!(code(&ctes), Some("PR0103"));
    // Subqueries of views count as well.
    let nested = nest("SELECT a FROM (", "SELECT a FROM v60", ")", 60);
    assert_eq!(code(&format!("{}{nested}", views(61))), Some("PR0103"));
}

#[test]
fn functions_that_multiply_or_nest_are_refused_before_they_are_put_in() {
    let doubling: String = (1..200)
        .map(|n| format!("CREATE FUNCTION f{n}(x) RETURN f{}(x) + f{}(x);\n", n - 1, n - 1))
        .collect();
    let doubling = format!("CREATE FUNCTION f0(x) RETURN x + 1;\n{doubling}");
    let calls = |function: &str, call: &str| {
        for (before, after) in PLACES {
            // Options of tables take no expression.
            let program = format!("{function}{before}{call}{after}");
            assert!(code(&program).is_some(), "{call} after `{before}`");
        }
    };
    calls(&doubling, "f199(price)");
    // The first function that is too large is refused, not what follows from it.
    assert_eq!(code(&format!("{doubling}SELECT f3(price) AS x FROM events")), Some("PR0101"));
    // Ten of them have 14,335 parts, and the eleventh alone has 15,000 more.
    let whole: String = doubling.lines().take(10).map(|line| format!("{line}\n")).collect();
    assert_eq!(code(&format!("{whole}SELECT f7(price) AS x FROM events")), None);
    // A large one, called often, though each call is small enough.
    let large = format!("CREATE FUNCTION f(x) RETURN {};\n", vec!["x"; 400].join(" + "));
    assert_eq!(code(&format!("{large}SELECT f(price) AS x FROM events")), None);
    let often = format!("{large}{}", "SELECT f(price) AS x FROM events;\n".repeat(40));
    assert_eq!(code(&often), Some("PR0101"));
    // A large one, called by many others.
    let many = (0..200).map(|n| format!("CREATE FUNCTION g{n}(x) RETURN f(x);\n"));
    let many = format!("{large}{}SELECT g0(price) AS x FROM events", many.collect::<String>());
    assert_eq!(code(&many), Some("PR0101"));
    // Deep ones within each other, and in an expression that is as deep as one may be.
    let deep = format!("CREATE FUNCTION f(x) RETURN {};\n", nest("(", "x", ")", 90));
    calls(&deep, &nest("f(", "price", ")", 90));
    let outer = nest("-(", &nest("f(", "price", ")", 3), ")", 80);
    assert_eq!(code(&format!("{deep}SELECT {outer} AS x FROM events")), None);
    let long = format!("CREATE FUNCTION f(x) RETURN x{};\n", "+1".repeat(400));
    assert_eq!(code(&format!("{long}SELECT f(f(price)) AS x FROM events")), Some("PR0103"));
    let both = format!("{long}SELECT f(price){} AS x FROM events", "+1".repeat(400));
    assert_eq!(code(&both), Some("PR0104"));
}

#[test]
fn expressions_that_become_deep_by_being_merged_are_refused() {
    let steps = |queries: usize, each: usize| {
        let select = |n: usize| {
            format!("SELECT a{n}{} AS a{}, quantity FROM (", "+quantity".repeat(each), n + 1)
        };
        let selects: String = (0..queries).rev().map(select).collect();
        format!("{selects}SELECT quantity AS a0, quantity FROM events{}", ")".repeat(queries))
    };
    assert_eq!(code(&steps(10, 490)), Some("PR0104"));
    assert_eq!(code(&steps(2, 300)), Some("PR0104"));
    assert_eq!(code(&steps(19, 20)), None);
    // Each level is the first operand of the next, so that the chains add up.
    let left = |each: usize| nest("(", "price", &format!("){}", "+1".repeat(each)), 90);
    refused("added up", &left(100), &["PR0104"]);
    assert_eq!(code(&format!("SELECT {} AS x FROM events", left(4))), None);
    let cases = nest("CASE ", "price", &format!("{} WHEN 1 THEN 2 END", "+1".repeat(100)), 90);
    refused("added up by CASE", &cases, &["PR0104"]);
}

#[test]
fn expressions_that_the_optimizer_doubles_are_refused() {
    for (open, close) in [
        ("coalesce(nullif(", ", 1), 2)"),
        ("nvl(nullif(", ", 1), 2)"),
        ("nvl2(nullif(", ", 1), 2, 3)"),
        ("(nullif(", ", 1) BETWEEN 1 AND 2)::INT"),
        ("(nullif(", ", 1) IN (1, 2, 3))::INT"),
    ] {
        let found = |depth: usize| {
            code(&format!("SELECT {} AS x FROM events", nest(open, "quantity", close, depth)))
        };
        assert_eq!(found(30), Some("PR0103"), "{open}");
        assert_eq!(found(5), None, "{open}");
    }
    let many =
        vec!["coalesce(nullif(coalesce(nullif(quantity, 1), 2), 3), 4) AS x"; 300].join(", ");
    assert!(code(&format!("SELECT {many} FROM events")).is_some());
}

#[test]
fn values_that_double_with_each_query_are_refused() {
    for doubled in [
        "a || a",
        "concat(a, a)",
        "concat_ws(',', a, a)",
        "encode(a, 'hex')",
        "'x' || a || lower(a)",
        "replace(a, 'a', 'aa')",
        "overlay(a PLACING a FROM 2)",
    ] {
        let select = format!("SELECT {doubled} AS a FROM (");
        let queries = |levels: usize| nest(&select, "SELECT event AS a FROM events", ")", levels);
        assert_eq!(code(&queries(60)), Some("PR0413"), "{doubled}");
        assert_eq!(code(&queries(3)), None, "{doubled}");
    }
    let lists = nest("SELECT [a, a] AS a FROM (", "SELECT event AS a FROM events", ")", 60);
    assert_eq!(code(&lists), Some("PR0413"));
    let prefixed = nest("SELECT 'x' || a AS a FROM (", "SELECT event AS a FROM events", ")", 60);
    assert_eq!(code(&prefixed), None);
}

#[test]
fn deep_types_and_long_declarations() {
    let column = |data_type: &str| {
        code(&format!(
            "CREATE TABLE g (a {data_type}) WITH (connector = 'generator'); SELECT a FROM g"
        ))
    };
    assert!(column(&nest("STRUCT<a ", "INT", ">", 6_000)).is_some());
    assert!(column(&nest("ARRAY<", "INT", ">", 6_000)).is_some());
    assert!(column(&format!("INT{}", "[]".repeat(9_000))).is_some());
    assert_eq!(column(&nest("ARRAY<", "INT", ">", 40)), None);
    let wide: Vec<_> = (0..2_000).map(|n| format!("c{n} INT")).collect();
    assert_eq!(column(&format!("INT, {}", wide.join(", "))), None);
}

#[test]
fn texts_that_are_no_sql() {
    let long = "Lorem ipsum dolor sit amet, ".repeat(2_000);
    for text in [
        "\0",
        "\u{feff}SELECT 1",
        "💥",
        "'",
        "\"",
        "/*",
        "/* /* */",
        "--",
        "$$",
        "$a$",
        "`x`",
        ";;;;",
        ")",
        "(",
        "]",
        "SELECT",
        "INSERT",
        "CREATE",
        "CREATE TABLE",
        "CREATE TABLE (",
        "CREATE TABLE t (",
        "CREATE TABLE t (WATERMARK FOR",
        "CREATE TABLE t (a INT, WATERMARK FOR)",
        "CREATE VIEW",
        "WITH",
        "SELECT * FROM",
        "E'\\x'",
        "U&'\\+'",
        "X'0g'",
        "1e999999",
        "SELECT 1e999999 FROM events",
        "SELECT 99999999999999999999999999999999999999999999 FROM events",
        "SELECT @x FROM events",
        "SELECT a.b.c.d.e.f FROM events",
        "SELECT * FROM events WHERE \u{202e}",
        "<html><body>",
        "{\"a\": [1, 2]}",
        long.as_str(),
        "SELECT EXTRACT(nonsense FROM ts) FROM events",
        "SELECT INTERVAL '1' FROM events",
        "SELECT tags[1:2:3] FROM events",
        "SELECT x -> 1 FROM events",
        "SELECT array_transform(tags, x -> x || 'a') AS t FROM events",
    ] {
        let found = code(text);
        assert!(found != Some("PR0199"), "`{}` crashed the planner", &text[..text.len().min(40)]);
    }
    assert_eq!(code(&"x".repeat(70_000)), Some("PR0101"));
    assert_eq!(code(&"1,".repeat(15_000)), Some("PR0101"));
}

#[test]
fn every_prefix_of_a_program_returns() {
    let program = "CREATE TABLE g (a INT, ts TIMESTAMP NOT NULL GENERATED ALWAYS AS (to_timestamp(a)), \
        WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (a)) WITH ('x' = 'y', connector = 'generator');\n\
        CREATE VIEW v AS SELECT a, CASE WHEN a > 1 THEN 'ü' ELSE 'b' END AS c, ts FROM g;\n\
        INSERT INTO out SELECT c, count(*), (hop('1 hour', '2 hours')).end FROM v WHERE a IN (1, 2) \
        GROUP BY 1, hop('1 hour', '2 hours') HAVING count(*) > 1;";
    for (end, _) in program.char_indices() {
        let found = code(&program[..end]);
        assert!(found != Some("PR0199"), "`{}` crashed the planner", &program[..end]);
    }
    assert_eq!(code(program), None);
}

/// Words of all golden cases, cut, doubled and shuffled: what people leave behind while editing.
#[test]
fn mutated_programs_return() {
    const ROUNDS: usize = 400;
    let cases = [include_str!("cases/good.txt"), include_str!("cases/bad.txt")].join("\n");
    let programs: Vec<Vec<&str>> = cases
        .split("\n## ")
        .filter_map(|case| case.split_once('\n')?.1.split_once("=>\n"))
        .map(|(sql, _)| sql.split_inclusive([' ', '(', ',', ')', '\n']).collect())
        .collect();
    let mut seed = 1_u64;
    // Knuth's MMIX generator: reproducible, and random enough to mix words.
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or_default() % below.max(1)
    };
    for _ in 0..ROUNDS {
        let mut words = programs[random(programs.len())].clone();
        let other = &programs[random(programs.len())];
        for _ in 0..=random(4) {
            let at = random(words.len());
            match random(4) {
                0 if words.len() > 1 => {
                    words.remove(at);
                }
                1 => words.insert(at, other.get(random(other.len())).copied().unwrap_or(" ")),
                2 => {
                    let from = random(words.len());
                    words.swap(at, from);
                }
                _ => {
                    let from = random(other.len());
                    words.splice(at..at, other[from..(from + 5).min(other.len())].iter().copied());
                }
            }
        }
        let sql = words.concat();
        assert!(code(&sql) != Some("PR0199"), "this crashed the planner:\n{sql}");
    }
}
