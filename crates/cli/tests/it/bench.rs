//! `postrider bench`: it fails where the two sides disagree, so small files suffice.

use crate::process::{postrider, run};

fn lines(out: &str) -> usize {
    out.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| query")).count()
}

#[test]
fn both_sides_agree_on_every_query_of_the_shop() {
    let out = run(postrider(
        "bench --all --events 3000 --customers 50 --rounds 1 --parallelism 2 --markdown".split(' '),
    ))
    .ok();
    for query in ["json", "hop-all", "dedup", "absence"] {
        assert!(out.contains(&format!("| {query} | ndjson | 2 |")), "{query} in {out}");
    }
    assert_eq!(lines(&out), 11, "{out}");
}

#[test]
fn both_sides_agree_on_nexmark() {
    let out = run(postrider(
        "bench --nexmark --events 3000 --rounds 1 --parallelism 1 --markdown".split(' '),
    ))
    .ok();
    assert!(lines(&out) >= 15, "{out}");
    assert!(out.contains("| q15 |") && out.contains("| q13 |"), "{out}");
}

#[test]
fn late_events_are_measured_and_only_what_looks_at_one_row_is_compared() {
    let out = run(postrider(
        "bench --query json,tumble --late 50 --events 3000 --rounds 1 --parallelism 1".split(' '),
    ))
    .ok();
    assert!(out.contains("\"late_in_a_thousand\": 50"), "{out}");
}
