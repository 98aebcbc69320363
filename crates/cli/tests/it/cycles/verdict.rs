//! The comparison at the end.

use std::collections::BTreeSet;

use super::{
    customers::{Customers, is_bad},
    figures::Figures,
    oracle,
    shop::{LAST, Shop},
};

/// Compares what there is with what there must be.
pub(super) fn check(shop: &Shop, customers: &Customers, figures: &mut Figures) {
    shop.verify_log();
    check_events(shop, customers, figures);
    check_dead_letters(shop, customers);
    check_windows(shop);
    check_mails(shop, figures);
}

fn good(numbers: &BTreeSet<i64>) -> BTreeSet<i64> {
    numbers.iter().copied().filter(|n| !is_bad(*n)).collect()
}

fn bad(numbers: &BTreeSet<i64>) -> BTreeSet<i64> {
    numbers.iter().copied().filter(|n| is_bad(*n)).collect()
}

/// Every event that was answered is there once, the others at most once.
fn check_events(shop: &Shop, customers: &Customers, figures: &mut Figures) {
    let (answered, unknown) = (customers.answered(), customers.unknown());
    let mut seen = shop.seen();
    assert_eq!(seen.remove(&LAST).map(|(times, _)| times), Some(1));
    let twice: Vec<_> = seen.iter().filter(|(_, (times, _))| *times != 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    let there: BTreeSet<i64> = seen.into_keys().collect();
    let lost: Vec<_> = good(&answered).difference(&there).copied().collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let either: BTreeSet<i64> = answered.union(&unknown).copied().collect();
    assert!(there.is_subset(&either), "an event that nobody posted");
    figures.answered = answered.len();
    figures.unknown = unknown.len();
    figures.events = there.len();
    figures.broken = customers.broken();
}

fn check_dead_letters(shop: &Shop, customers: &Customers) {
    let letters = shop.dead_letters();
    let once: BTreeSet<i64> = letters.iter().copied().collect();
    assert_eq!(once.len(), letters.len(), "a dead letter is there twice: {letters:?}");
    assert!(bad(&customers.answered()).is_subset(&once), "a bad event is lost");
    assert!(
        once.is_subset(&bad(&customers.answered().union(&customers.unknown()).copied().collect()))
    );
}

fn check_windows(shop: &Shop) {
    let (found, expected) = (shop.hops(), oracle::hops(&shop.events()));
    let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert!(differs.is_none(), "a window differs: {differs:?}");
    assert_eq!(found.len(), expected.len(), "windows are lost or twice");
}

/// No mail twice; those that are missing are in doubt.
fn check_mails(shop: &Shop, figures: &mut Figures) {
    let expected = oracle::sends(&shop.events());
    let delivered: Vec<_> = shop.mailbox.mails().into_iter().map(|mail| mail.send_id).collect();
    let once: BTreeSet<String> = delivered.iter().cloned().collect();
    assert_eq!(once.len(), delivered.len(), "a mail came twice");
    let wrong: Vec<_> = once.difference(&expected).collect();
    assert!(wrong.is_empty(), "mails of windows that are none: {wrong:?}");
    let outbox = shop.outbox();
    let in_doubt: BTreeSet<String> = outbox.ids("in_doubt").into_iter().collect();
    let missing: BTreeSet<String> = expected.difference(&once).cloned().collect();
    let undelivered: BTreeSet<String> = in_doubt.difference(&once).cloned().collect();
    assert_eq!(missing, undelivered, "what is missing is what the outbox lists as in doubt");
    assert!(in_doubt.is_subset(&expected));
    assert_eq!(outbox.trigger_rows, expected.len(), "trigger rows are lost or twice");
    let settled = outbox.count("accepted") + outbox.count("in doubt");
    assert_eq!(settled, expected.len(), "{:?}", outbox.counts());
    figures.trigger_rows = outbox.trigger_rows;
    figures.mails = delivered.len();
    figures.in_doubt = in_doubt.len();
}
