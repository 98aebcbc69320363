//! Expressions that have a type.

use super::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Float,
    Text,
    Bool,
    Time,
    List,
    Json,
}

/// A column that an expression may read.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) of: Type,
}

pub(crate) fn column(name: &str, of: Type) -> Column {
    Column { name: name.to_owned(), of }
}

const UNITS: [&str; 4] = ["second", "minute", "hour", "day"];

/// Such as `INTERVAL '3 hours'`.
pub(crate) fn interval(random: &mut Random) -> String {
    let (n, unit) = (1 + random.below(5), random.pick(&UNITS));
    match random.below(3) {
        0 => format!("INTERVAL '{n}' {}", unit.to_uppercase()),
        _ => format!("INTERVAL '{n} {unit}s'"),
    }
}

/// An expression of type `of` over `columns`, at most `depth` levels deep.
pub(crate) fn expr(of: Type, columns: &[Column], depth: usize, random: &mut Random) -> String {
    let of_type: Vec<_> = columns.iter().filter(|column| column.of == of).collect();
    if depth == 0 || random.one_in(4) {
        if !of_type.is_empty() && !random.one_in(4) {
            return random.pick(&of_type).name.clone();
        }
        return literal(of, random);
    }
    let mut part = |of| expr(of, columns, depth - 1, random);
    match of {
        Type::Int => number(columns, depth, random),
        Type::Float => fraction(columns, depth, random),
        Type::Text => text(columns, depth, random),
        Type::Bool => condition(columns, depth, random),
        Type::Time => {
            let a = part(Type::Time);
            match random.below(3) {
                0 => format!("({a} + {})", interval(random)),
                1 => format!("({a} - {})", interval(random)),
                _ => format!("date_trunc('hour', {a})"),
            }
        }
        Type::List => {
            let (a, b) = (part(Type::Text), part(Type::Text));
            format!("make_array({a}, {b})")
        }
        Type::Json => literal(of, random),
    }
}

fn number(columns: &[Column], depth: usize, random: &mut Random) -> String {
    let mut part = |of| expr(of, columns, depth - 1, random);
    let (a, b, text) = (part(Type::Int), part(Type::Int), part(Type::Text));
    let condition = part(Type::Bool);
    match random.below(8) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("{a} % 7"),
        3 => format!("char_length({text})"),
        4 => format!("coalesce({a}, 0)"),
        5 => format!("CASE WHEN {condition} THEN {a} ELSE {b} END"),
        6 => format!("nullif({a}, {b})"),
        _ => format!("CAST(CAST({a} AS TEXT) AS BIGINT)"),
    }
}

fn fraction(columns: &[Column], depth: usize, random: &mut Random) -> String {
    let mut part = |of| expr(of, columns, depth - 1, random);
    let (a, b, n) = (part(Type::Float), part(Type::Float), part(Type::Int));
    match random.below(6) {
        0 => format!("({a} * {b})"),
        1 => format!("{a} / 2.5"),
        2 => format!("round({a}, 2)"),
        3 => format!("CAST({n} AS DOUBLE)"),
        4 => format!("greatest({a}, {b})"),
        _ => format!("abs({a})"),
    }
}

fn text(columns: &[Column], depth: usize, random: &mut Random) -> String {
    let mut part = |of| expr(of, columns, depth - 1, random);
    let (a, n, time) = (part(Type::Text), part(Type::Int), part(Type::Time));
    let json = part(Type::Json);
    match random.below(9) {
        0 => format!("upper({a})"),
        1 => format!("{a} || '-x'"),
        2 => format!("substr({a}, 2, 3)"),
        3 => format!("CAST({n} AS TEXT)"),
        4 => format!("coalesce({a}, 'none')"),
        5 => format!("to_char({time}, '%Y-%m-%d')"),
        6 => format!("{json} ->> 'sku'"),
        7 => format!("md5({a})"),
        _ => format!("trim({a})"),
    }
}

fn condition(columns: &[Column], depth: usize, random: &mut Random) -> String {
    let of = *random.pick(&[Type::Int, Type::Float, Type::Text, Type::Time]);
    let mut part = |of| expr(of, columns, depth - 1, random);
    let (a, b) = (part(of), part(of));
    let (p, q, text) = (part(Type::Bool), part(Type::Bool), part(Type::Text));
    match random.below(9) {
        0 => format!("{a} < {b}"),
        1 => format!("{a} = {b}"),
        2 => format!("({p} AND {q})"),
        3 => format!("({p} OR {q})"),
        4 => format!("NOT ({p})"),
        5 => format!("{a} IS NOT NULL"),
        6 => format!("{text} IN ('a', 'b', 'c')"),
        7 => format!("{text} LIKE 'a%'"),
        _ => format!("{a} IS DISTINCT FROM {b}"),
    }
}

fn literal(of: Type, random: &mut Random) -> String {
    match of {
        Type::Int => random.below(100).to_string(),
        Type::Float => format!("{}.5", random.below(100)),
        Type::Text => (*random.pick(&["'a'", "'it''s'", "''", "'日本'"])).to_owned(),
        Type::Bool => (*random.pick(&["true", "false"])).to_owned(),
        Type::Time => format!("TIMESTAMP '2026-03-0{} 10:00:00'", 1 + random.below(9)),
        Type::List => "make_array('a', 'b')".to_owned(),
        Type::Json => r#"'{"sku": "a"}'"#.to_owned(),
    }
}
