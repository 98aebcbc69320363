//! Programs made of the grammar, and such programs broken: none may crash the planner, stop it for long, or be refused though it
//! is right.
//!
//! Every second program is right by construction: it must be planned and explained. The others are such programs with a few of
//! their words removed, doubled, swapped or taken from elsewhere: they may be anything.
//!
//! `POSTRIDER_FUZZ_INPUTS` says how many programs there are and `POSTRIDER_FUZZ_FIRST` which is the first; a number is a
//! program, in every build. A crash that no test can catch is known by the number printed last, with `POSTRIDER_FUZZ_TRACE`.

mod expressions;
mod queries;
mod random;
mod words;

use std::{
    io::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use postrider_core::{Diagnostic, PipelineName};
use postrider_engine::explain_text;
use postrider_sql::plan_program;

use self::random::Random;

/// Programs of a test run; a campaign has a million.
const INPUTS: u64 = 400;
/// After so many faults a run ends.
const FAULTS: usize = 20;
/// How long one program may take, on a busy machine and in an unoptimized build.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The program of a number, and whether it is right by construction.
fn program(number: u64) -> (String, bool) {
    let mut random = Random::of(number / 2);
    let right = queries::program(&mut random);
    if number.is_multiple_of(2) {
        return (right, true);
    }
    let other = queries::program(&mut Random::of(number.wrapping_mul(31)));
    (words::broken(&right, &other, &mut random), false)
}

fn say(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What became of some programs.
#[derive(Debug, Default)]
struct Tally {
    planned: AtomicU64,
    refused: AtomicU64,
}

/// What is wrong with what becomes of a program, if something is.
fn fault(number: u64, tally: &Tally) -> Option<String> {
    let (sql, is_right) = program(number);
    if std::env::var_os("POSTRIDER_FUZZ_TRACE").is_some() {
        say(&number.to_string());
    }
    let started = Instant::now();
    let planned = plan_program(&sql, PipelineName("fuzz".to_owned()));
    let outcome = planned.and_then(|program| explain_text(&program));
    let took = started.elapsed();
    if took > PATIENCE {
        return Some(format!("program {number} took {took:?}:\n{sql}"));
    }
    let Err(errors) = outcome else {
        tally.planned.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    tally.refused.fetch_add(1, Ordering::Relaxed);
    let outside = |error: &Diagnostic| {
        error.span.as_ref().is_some_and(|span| sql.get(span.range.clone()).is_none())
    };
    if errors.0.iter().any(|error| error.code == "PR0199") {
        return Some(format!("program {number} crashed the planner:\n{sql}"));
    }
    if let Some(error) = errors.0.iter().find(|error| outside(error)) {
        return Some(format!("program {number}: {error} is out of the text:\n{sql}"));
    }
    is_right.then(|| format!("program {number} is right, and refused: {errors}\n{sql}"))
}

#[test]
fn right_programs_are_planned_and_broken_ones_return() {
    let inputs = number("POSTRIDER_FUZZ_INPUTS", INPUTS);
    let first = number("POSTRIDER_FUZZ_FIRST", 0);
    let (next, tally) = (AtomicU64::new(first), Tally::default());
    let faults = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + inputs || faults.lock().unwrap().len() >= FAULTS {
                        return;
                    }
                    let found = fault(number, &tally);
                    faults.lock().unwrap().extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    let (planned, refused) = (tally.planned.into_inner(), tally.refused.into_inner());
    say(&format!("{planned} planned, {refused} refused"));
    assert_eq!(planned + refused, inputs);
    assert!(planned >= inputs / 2, "half of them are right: {planned} of {inputs}");
}
