//! The comparison at the end.

use std::collections::BTreeSet;

use super::{
    customers::{Customers, is_bad},
    figures::Figures,
    oracle,
    shop::{LAST, Shop},
};

/// Compares what there is with what there must be, and counts what is lost and what is twice.
pub(super) fn count(shop: &Shop, customers: &Customers, figures: &mut Figures) {
    shop.verify_log();
    events(shop, customers, figures);
    dead_letters(shop, customers, figures);
    figures.tally.compare("windows", shop.hops(), oracle::hops(&shop.events()));
    mails(shop, figures);
}

/// Every event that was answered is there once, the others at most once.
fn events(shop: &Shop, customers: &Customers, figures: &mut Figures) {
    let (answered, unknown) = (customers.answered(), customers.unknown());
    let seen = shop.seen();
    let there: BTreeSet<i64> = seen.keys().copied().collect();
    let expected = expected(&answered, &unknown, &there, |n| !is_bad(n)).chain([LAST]);
    let found = seen.iter().flat_map(|(n, (times, _))| vec![*n; *times]);
    figures.tally.compare("events", found, expected);
    figures.answered = answered.len();
    figures.unknown = unknown.len();
    figures.events = there.len() - 1;
    figures.broken = customers.broken();
}

/// The same of bad ones.
fn dead_letters(shop: &Shop, customers: &Customers, figures: &mut Figures) {
    let (answered, unknown) = (customers.answered(), customers.unknown());
    let letters = shop.dead_letters();
    let there: BTreeSet<i64> = letters.iter().copied().collect();
    figures.tally.compare("dead letters", letters, expected(&answered, &unknown, &there, is_bad));
}

/// Of events of a kind: what was answered, and what is there of those of which nobody knows.
fn expected(
    answered: &BTreeSet<i64>,
    unknown: &BTreeSet<i64>,
    there: &BTreeSet<i64>,
    is_of_kind: impl Fn(i64) -> bool,
) -> impl Iterator<Item = i64> {
    let perhaps: BTreeSet<i64> = unknown.intersection(there).copied().collect();
    let all: BTreeSet<i64> = answered.union(&perhaps).copied().collect();
    all.into_iter().filter(move |n| is_of_kind(*n))
}

/// No mail twice; those that are missing are in doubt.
fn mails(shop: &Shop, figures: &mut Figures) {
    let expected = shop.expected_sends();
    let delivered: Vec<_> = shop.mailbox.mails().into_iter().map(|mail| mail.send_id).collect();
    let once: BTreeSet<String> = delivered.iter().cloned().collect();
    let outbox = shop.outbox();
    let in_doubt: BTreeSet<String> = outbox.ids("in_doubt").into_iter().collect();
    let (mails, doubts) = (delivered.len(), in_doubt.len());
    let undelivered: BTreeSet<&String> = in_doubt.difference(&once).collect();
    let due = expected.iter().filter(|send| !undelivered.contains(send)).cloned();
    figures.tally.compare("mails", delivered, due);
    figures.tally.compare("sends in doubt", &in_doubt, in_doubt.intersection(&expected));
    figures.tally.compare_counts("trigger rows", outbox.trigger_rows, expected.len());
    let settled = outbox.count("accepted") + outbox.count("in doubt");
    figures.tally.compare_counts("settled rows", settled, expected.len());
    figures.trigger_rows = outbox.trigger_rows;
    figures.mails = mails;
    figures.in_doubt = doubts;
}
