//! Claims, and the window against a model that forgets nothing.

use std::{collections::HashMap, sync::Arc};

use postrider_core::WorkspaceId;
use postrider_store::KeyRole;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Claim, Dedupe, Key, Window};

const LENGTH: i64 = 100;

fn key(id: u8) -> Key {
    Key::of(WorkspaceId::DEFAULT, "default", KeyRole::Server, &id.to_string())
}

fn dedupe() -> Arc<Dedupe> {
    Arc::new(Dedupe::new(Window::new(LENGTH, 1_000_000)))
}

fn claim(dedupe: &Arc<Dedupe>, ids: &[u8], now: i64) -> Claim {
    let keys: Vec<_> = ids.iter().map(|id| Some(key(*id))).collect();
    dedupe.claim(&keys, now)
}

#[test]
fn streams_and_roles_do_not_share_ids() {
    let of = |stream, id| Key::of(WorkspaceId::DEFAULT, stream, KeyRole::Server, id);
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("a", "1"), Key::of(WorkspaceId(2), "a", KeyRole::Server, "1"));
    // A browser's key is public: who guesses the id of an order must not make the order vanish.
    assert_ne!(of("a", "1"), Key::of(WorkspaceId::DEFAULT, "a", KeyRole::Browser, "1"));
}

#[test]
fn an_id_is_new_once_within_a_request_too() {
    let claim = claim(&dedupe(), &[1, 2, 1], 0);
    assert_eq!(claim.is_new(), [true, true, false]);
    assert!(claim.settle().0.is_empty(), "no request waits for itself");
}

#[test]
fn an_event_without_an_id_is_always_new() {
    assert_eq!(dedupe().claim(&[None, None], 0).is_new(), [true, true]);
}

#[tokio::test]
async fn a_duplicate_waits_for_the_first_copy() {
    let dedupe = dedupe();
    let first = claim(&dedupe, &[1], 0);
    let second = claim(&dedupe, &[1], 0);
    assert_eq!(second.is_new(), [false]);
    let mut others = Box::pin(second.settle().settled());
    assert!(futures::poll!(&mut others).is_pending());
    first.settle();
    assert!(others.await);
}

#[tokio::test]
async fn a_failed_first_copy_fails_its_duplicates_and_frees_the_id() {
    let dedupe = dedupe();
    let first = claim(&dedupe, &[1], 0);
    let second = claim(&dedupe, &[1], 0);
    drop(first);
    assert!(!second.settle().settled().await);
    assert_eq!(claim(&dedupe, &[1], 0).is_new(), [true]);
}

#[test]
fn the_window_ends_exactly_at_its_length() {
    let dedupe = dedupe();
    claim(&dedupe, &[1], 5).settle();
    assert_eq!(claim(&dedupe, &[1], 5 + LENGTH - 1).is_new(), [false]);
    assert_eq!(claim(&dedupe, &[1], 5 + LENGTH).is_new(), [true]);
}

#[derive(Debug, Clone)]
enum Step {
    /// A request with these ids, this much later; whether its append works.
    Request { ids: Vec<u8>, later: i64, works: bool },
    /// The memory is written down.
    Snapshot,
    /// A new process that reads the newest snapshot and the log behind it, with its clock moved by this.
    Restart { shift: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let ids = proptest::collection::vec(0..12_u8, 1..6);
    prop_oneof![
        8 => (ids, 0..60_i64, any::<bool>(), any::<bool>())
            .prop_map(|(ids, later, a, b)| Step::Request { ids, later, works: a || b }),
        1 => Just(Step::Snapshot),
        1 => prop_oneof![Just(0), -50..50_i64].prop_map(|shift| Step::Restart { shift }),
    ]
}

proptest! {
    #[test]
    fn exactly_the_ids_outside_the_window_are_new(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut dedupe = dedupe();
        let mut now = 0;
        let mut log: Vec<(u8, i64)> = Vec::new();
        let (mut snapshot, mut behind, mut written_at) = (Vec::new(), 0, 0);
        // What was expired when the snapshot was written stays so, even if the clock was set back.
        let mut expired: Vec<bool> = Vec::new();
        for step in steps {
            match step {
                Step::Snapshot => {
                    let ids = |shard| dedupe.ids(shard, now);
                    (snapshot, behind) = ((0..Window::SHARDS).flat_map(ids).collect(), log.len());
                    written_at = now;
                }
                Step::Restart { shift } => {
                    now += shift;
                    let mut window = Window::new(LENGTH, 1_000_000);
                    for (key, at) in &snapshot {
                        window.insert_recent(*key, *at, now);
                    }
                    for (id, at) in &log[behind..] {
                        window.insert_recent(key(*id), *at, now);
                    }
                    dedupe = Arc::new(Dedupe::new(window));
                    expired.resize(log.len(), false);
                    for (expired, (_, at)) in expired.iter_mut().zip(&log[..behind]) {
                        *expired |= written_at - at >= LENGTH;
                    }
                }
                Step::Request { ids, later, works } => {
                    now += later;
                    let mut newest: HashMap<u8, i64> = HashMap::new();
                    expired.resize(log.len(), false);
                    for ((id, at), _) in log.iter().zip(&expired).filter(|(_, expired)| !**expired) {
                        let newest = newest.entry(*id).or_insert(*at);
                        *newest = (*newest).max(*at);
                    }
                    let mut expected = Vec::new();
                    let mut stored = Vec::new();
                    for id in &ids {
                        let known = newest.get(id).is_some_and(|at| now - at < LENGTH)
                            || stored.contains(&(*id, now));
                        expected.push(!known);
                        if !known {
                            stored.push((*id, now));
                        }
                    }
                    let claim = claim(&dedupe, &ids, now);
                    proptest::prop_assert_eq!(claim.is_new(), &expected);
                    if works {
                        claim.settle();
                        log.extend(stored);
                    }
                }
            }
        }
    }
}
