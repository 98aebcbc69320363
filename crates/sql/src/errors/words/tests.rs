use super::reword;

fn words(message: &str) -> Option<String> {
    reword(message).map(|(message, _)| message)
}

#[test]
fn types_are_those_of_sql() {
    let cases = [
        (
            "cannot infer common argument type for comparison operation Float64 > List(Utf8)",
            "`>` can't take DOUBLE and TEXT[]",
        ),
        (
            "cannot infer common argument type for comparison operation Utf8 IS DISTINCT FROM Boolean",
            "`IS DISTINCT FROM` can't take TEXT and BOOLEAN",
        ),
        (
            "cannot coerce arithmetic expression Utf8 + Timestamp(ns) to valid types",
            "`+` can't take TEXT and TIMESTAMP",
        ),
        (
            "there isn't a common type to coerce Utf8 and Int64 in LIKE expression",
            "`LIKE` can't take TEXT and BIGINT",
        ),
        (
            "cannot create filter with non-boolean predicate 'events.price' returning Float64",
            "a condition is true or false, and this is DOUBLE",
        ),
        ("function 'upper' expects 1 arguments but received 2", "`upper` takes 1 argument, not 2"),
        (
            "the function 'nullif' expected 2 arguments but received 1",
            "`nullif` takes 2 arguments, not 1",
        ),
        ("function 'sum' can't take (Utf8, Int64)", "`sum` can't take TEXT, BIGINT"),
        ("arrow error: Cast error: Cannot cast string 'x' to value of Int32 type", "'x' is no INT"),
        (
            "incompatible inputs for Union: Previous inputs were of type Utf8, but got incompatible type List(Utf8) on column 'a'",
            "the SELECTs of a UNION yield TEXT and TEXT[] in one column",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(words(said).as_deref(), Some(expected));
    }
    assert_eq!(words("something else"), None);
}
