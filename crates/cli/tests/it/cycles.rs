//! Processes that die, one after another, on one state directory while events are posted all the time: by SIGKILL at a random
//! moment, at a numbered failpoint, by SIGTERM, and again while they recover. In the end everything is compared with a
//! computation of its own: nothing lost, nothing twice, and the only mails missing are those listed as in doubt.
//!
//! `POSTRIDER_KILL_CYCLES` sets how many die, `POSTRIDER_KILL_SEED` repeats a run's dice. `scripts/soak` runs the ignored tests.

mod customers;
mod figures;
mod growth;
mod life;
mod memory;
mod oracle;
mod plan;
mod shop;
mod verdict;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use postrider_reliability::Campaign;
use postrider_store::Failpoint;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::{
    customers::{Customers, Ids},
    figures::Figures,
    life::Life,
    memory::{LiveBytes, Samples},
    plan::Plan,
    shop::{Mails, Shop},
};
use crate::process::{DEADLINE, Signal, eventually, within};

/// Processes that die in a run of the test.
const CYCLES: u64 = 50;

/// Events a second: windows close all the time, and a machine with two busy cores keeps up.
const RATE: u64 = 600;

/// Members whose state makes a growth of one percent visible beside the swing of open windows and requests.
const MEMBERS: u64 = 300_000;

/// A setting of the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Posts while `course` runs, then lets everything drain and counts.
fn campaign(
    shop: &Shop,
    customers: &Customers,
    figures: &mut Figures,
    course: impl FnOnce(&Customers, &mut Figures),
) {
    thread::scope(|scope| {
        for _ in 0..customers::POSTERS {
            scope.spawn(|| customers.post_until_done());
        }
        let done = customers.done_when_dropped();
        course(customers, figures);
        let mut last = Life::start(shop.command(2), customers);
        last.ready(figures);
        drop(done);
        eventually("the end of all posts", || {
            last.look(figures);
            customers.are_gone()
        });
        finish(shop, last, customers, figures);
    });
    verdict::count(shop, customers, figures);
}

/// Writes down what a campaign came to, and only then checks it.
fn conclude(name: &str, campaign: Campaign, figures: &Figures) {
    campaign.write(name).unwrap();
    assert_eq!(figures.tally.verdict(), Ok(()));
}

/// Closes all windows and stops in good order.
fn finish(shop: &Shop, mut last: Life<'_>, customers: &Customers, figures: &mut Figures) {
    customers.post_last();
    eventually("the last event", || {
        last.look(figures);
        shop.seen().contains_key(&shop::LAST)
    });
    let windows = oracle::hops(&shop.events()).len();
    // Should one be lost, the count says which.
    within(DEADLINE, || {
        last.look(figures);
        shop.hops().len() >= windows
    });
    last.stop(figures);
}

#[test]
fn processes_that_die_at_any_moment_lose_nothing_and_do_nothing_twice() {
    let (seed, cycles) =
        (setting("POSTRIDER_KILL_SEED", 20_261_124), setting("POSTRIDER_KILL_CYCLES", CYCLES));
    println!("POSTRIDER_KILL_SEED={seed} POSTRIDER_KILL_CYCLES={cycles}");
    let (shop, customers) = (Shop::open(Mails::Many), Customers::new(RATE, Ids::Most));
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut figures = Figures::of_seed(seed);
    campaign(&shop, &customers, &mut figures, |customers, figures| {
        for cycle in 0..cycles {
            let plan = Plan::draw(&mut dice);
            println!("cycle {cycle}: {plan:?}");
            for end in plan.ends() {
                let parallelism = 1 + cycle % 3;
                Life::start(shop.command_with(parallelism, end.failpoint()), customers)
                    .end(end, figures);
            }
            figures.cycles += 1;
        }
    });
    println!("{:#?}", figures.campaign());
    conclude("kill_cycles", figures.campaign(), &figures);
    assert!(figures.restores() * 2 > cycles, "most restarts go on from a checkpoint");
    assert!(figures.at_failpoints() > 0 || cycles < 50, "no failpoint was met");
    assert!(shop.log_was_shortened() || cycles < 50, "the log was never shortened");
    assert!(
        figures.replays_are_short() || cycles < 50,
        "recoveries replay what a checkpoint should have spared"
    );
}

#[test]
fn a_process_dies_at_every_failpoint_and_nothing_is_lost_or_done_twice() {
    let (shop, customers) = (Shop::open(Mails::Many), Customers::new(RATE, Ids::Most));
    let mut figures = Figures::without_dice();
    campaign(&shop, &customers, &mut figures, |customers, figures| {
        for (place, passage) in plan::every_failpoint() {
            let failpoint = format!("{}:{passage}", place.name());
            let parallelism = 1 + figures.cycles % 3;
            Life::start(shop.command_with(parallelism, Some(&failpoint)), customers)
                .die_at(place, figures);
            figures.cycles += 1;
        }
    });
    println!("{:#?}", figures.campaign());
    conclude("failpoints", figures.campaign(), &figures);
    let all: BTreeSet<_> = Failpoint::ALL.iter().map(|place| place.name()).collect();
    assert_eq!(figures.failpoints(), all);
}

#[test]
#[ignore = "takes as long as it is told to; scripts/soak runs it"]
fn soak() {
    let seed = setting("POSTRIDER_KILL_SEED", 20_261_124);
    let (minutes, every) =
        (setting("POSTRIDER_SOAK_MINUTES", 30), setting("POSTRIDER_SOAK_EVERY", 30));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let customers = Customers::new(setting("POSTRIDER_SOAK_RATE", RATE), Ids::Most);
    let shop = Shop::open(Mails::Many);
    let mut figures = Figures::of_seed(seed);
    campaign(&shop, &customers, &mut figures, |customers, figures| {
        while Instant::now() < until {
            let mut life = Life::start(shop.command(1 + figures.cycles % 3), customers);
            let left = until.saturating_duration_since(Instant::now());
            life.watch(left.min(Duration::from_secs(every)), figures);
            life.signal_and_wait(Signal::KILL, figures);
            figures.cycles += 1;
        }
    });
    println!("{:#?}", figures.campaign());
    conclude("soak_kills", figures.campaign(), &figures);
}

/// Memory over time, where nothing is to be remembered: fixed sets of customers and members, no message ids, and few mails.
#[test]
#[ignore = "takes as long as it is told to; scripts/soak --undisturbed runs it"]
fn soak_undisturbed() {
    let minutes = setting("POSTRIDER_SOAK_MINUTES", 30);
    let customers = Customers::new(setting("POSTRIDER_SOAK_RATE", RATE), Ids::None);
    let shop = Shop::with_members(Mails::Few, setting("POSTRIDER_SOAK_MEMBERS", MEMBERS));
    let (mut figures, mut memory) = (Figures::without_dice(), Samples::default());
    let live = LiveBytes::compile();
    campaign(&shop, &customers, &mut figures, |customers, figures| {
        let mut life = Life::start(live.watch(shop.command(2)), customers);
        life.ready(figures);
        let began = Instant::now();
        let until = began + Duration::from_secs(60 * minutes);
        while Instant::now() < until {
            memory.add(began.elapsed().as_secs_f64() / 3_600.0, life.memory(&live));
            within(Duration::from_secs(2), || {
                life.look(figures);
                Instant::now() >= until
            });
        }
        life.stop(figures);
        figures.cycles += 1;
    });
    let campaign = growth::facts(&live, memory.facts(figures.campaign()));
    println!("{campaign:#?}");
    conclude("soak_undisturbed", campaign, &figures);
}
