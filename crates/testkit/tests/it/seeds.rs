//! Seeds after seeds; a failing one is named with the command that runs it alone.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use postrider_testkit::{Mode, Report, Shop, simulate};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs seeds on two threads, each seed on one. `name` is the test, `entry` its place in `reliability.json`.
fn run(name: &str, entry: &str, mode: Mode, seeds: u64) {
    let first = number("POSTRIDER_SIM_FIRST_SEED").unwrap_or(1);
    let seeds = number("POSTRIDER_SIM_SEEDS").unwrap_or(seeds);
    let (shop, began) = (Shop::plan().unwrap(), Instant::now());
    let next = AtomicU64::new(first);
    let work = || {
        let mut report = Report::new(first);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || report.violations.len() > 5 {
                return report;
            }
            report.add(simulate(&shop, mode, seed).report);
        }
    };
    let reports: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut report = Report::new(first);
    reports.into_iter().for_each(|part| report.add(part));
    report.campaign().took(began.elapsed()).write(entry).unwrap();
    println!("{report:#?}");
    let failed: Vec<_> = report
        .violations
        .iter()
        .map(|(seed, violation)| {
            format!(
                "seed {seed}: {violation}\n  again: POSTRIDER_SIM_FIRST_SEED={seed} POSTRIDER_SIM_SEEDS=1 cargo test -p postrider-testkit {name}"
            )
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn nothing_is_lost_or_twice_when_processes_and_machines_die() {
    let name = "nothing_is_lost_or_twice_when_processes_and_machines_die";
    run(name, "simulated_crashes", Mode::Crashes, 500);
}

#[test]
fn nothing_is_lost_or_twice_when_the_object_store_fails() {
    let name = "nothing_is_lost_or_twice_when_the_object_store_fails";
    run(name, "store_faults", Mode::Objects, 200);
}

/// That a run can fail: a harness that finds nothing may look at nothing.
#[test]
fn broken_promises_of_the_disk_and_the_provider_are_found_out() {
    let shop = Shop::plan().unwrap();
    for mode in [Mode::LyingDisk, Mode::LyingProvider] {
        let found = |seed: &u64| !simulate(&shop, mode, *seed).report.violations.is_empty();
        let caught = (1..=10).filter(found).count();
        assert!(caught >= 3, "{mode:?} was found out in {caught} runs of 10");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let shop = Shop::plan().unwrap();
    for seed in 1..=10 {
        for mode in [Mode::Crashes, Mode::Objects] {
            let [first, second] = [(); 2].map(|()| simulate(&shop, mode, seed));
            assert_eq!(first, second, "seed {seed}, {mode:?}");
        }
    }
}
