//! The windows of the shop's pipeline, computed anew: plain loops over the events that are there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use postrider_core::{SendId, SendIdentity, WorkspaceId};

/// An event: its number, which gives its time, and its customer.
type Event = (i64, String);

/// 2026-01-01, in milliseconds since 1970.
const BEGIN_MS: i64 = 1_767_225_600_000;

/// Event time between two events.
const STEP_MS: i64 = 500;

const GAP_MS: i64 = 300_250;

fn time_ms(n: i64) -> i64 {
    BEGIN_MS + n * STEP_MS
}

/// The time of an event, as it is posted.
pub(super) fn time(n: i64) -> String {
    text(time_ms(n), "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn text(ms: i64, format: &str) -> String {
    let time: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms);
    time.format(format).to_string()
}

/// Count and sum of the windows of a size that begin every `slide`: by customer and begin.
fn windows(events: &[Event], slide: i64, size: i64) -> BTreeMap<(String, i64), (i64, i64)> {
    let mut windows = BTreeMap::new();
    for (n, user) in events {
        let at = time_ms(*n);
        let newest = at - at.rem_euclid(slide);
        for start in (0..).map(|back| newest - back * slide).take_while(|start| start + size > at) {
            let window: &mut (i64, i64) = windows.entry((user.clone(), start)).or_default();
            *window = (window.0 + 1, window.1 + n);
        }
    }
    windows
}

const MINUTE: i64 = 60_000;

/// The rows of the hopping windows, sorted.
pub(super) fn hops(events: &[Event]) -> Vec<(String, String, i64, i64)> {
    let windows = windows(events, MINUTE, 3 * MINUTE).into_iter();
    let row =
        |((user, start), (events, total))| (user, text(start, "%Y-%m-%dT%H:%M:%S"), events, total);
    windows.map(row).collect()
}

/// The ids of the mails of two-minute windows.
pub(super) fn digests(events: &[Event]) -> BTreeSet<String> {
    let digests = windows(events, 2 * MINUTE, 2 * MINUTE).into_iter().map(
        |((user, start), (events, total))| {
            let key = format!("{} {events} {total}", text(start, "%Y-%m-%dT%H:%M:%S"));
            send("shop.digests", &user, &key)
        },
    );
    digests.collect()
}

/// The ids of the mails of sessions whose last event is such a one.
pub(super) fn visitors(events: &[Event], is_mailed: impl Fn(i64) -> bool) -> BTreeSet<String> {
    let mut by_user: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for (n, user) in events {
        by_user.entry(user).or_default().insert(*n);
    }
    let mut sends = BTreeSet::new();
    for (user, numbers) in by_user {
        let numbers: Vec<i64> = numbers.into_iter().collect();
        for session in numbers.chunk_by(|a, b| time_ms(*b) - time_ms(*a) < GAP_MS) {
            let (first, last) = (session[0], session[session.len() - 1]);
            if !is_mailed(last) {
                continue;
            }
            let total: i64 = session.iter().sum();
            let key = format!("{first} {last} {} {total}", session.len());
            sends.insert(send("shop.visitors", user, &key));
        }
    }
    sends
}

fn send(trigger: &str, recipient_key: &str, dedupe_key: &str) -> String {
    let workspace = WorkspaceId::DEFAULT;
    let identity =
        SendIdentity { workspace, trigger, fire_series: 0, recipient_key, dedupe_key, step: 0 };
    SendId::of(&identity).to_string()
}
