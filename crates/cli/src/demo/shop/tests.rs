//! The shop against what it promises, with an oracle that knows nothing of visits.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::DateTime;
use serde_json::Value;

use super::{
    DELAYED_BY, DELAYED_SHARE, DUPLICATE_SHARE, LATE_SHARE, MINUTE, Post, SECOND, Shop, ShopOptions,
};

const START_NS: i64 = 1_790_000_000 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn options() -> ShopOptions {
    ShopOptions {
        seed: 7,
        start_ns: START_NS,
        customers: 5_000,
        rate: 1_000,
        speed: 360,
        batch: 20,
    }
}

/// The posts of the first `hours` of event time.
fn posts(options: ShopOptions, hours: i64) -> Vec<Post> {
    Shop::new(options).take_while(|post| post.send_at_ns < hours * HOUR).collect()
}

struct Seen {
    id: String,
    user: String,
    event: String,
    at_ns: i64,
    items: i64,
    cart: String,
}

fn parse(json: &str) -> Seen {
    let value: Value = serde_json::from_str(json).unwrap();
    assert_eq!(value["type"], "track");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let properties = &value["properties"];
    let at = DateTime::parse_from_rfc3339(value["timestamp"].as_str().unwrap()).unwrap();
    Seen {
        id: text(&value["messageId"]),
        user: text(&value["userId"]),
        event: text(&value["event"]),
        at_ns: at.timestamp_nanos_opt().unwrap() - START_NS,
        items: properties["item_count"].as_i64().unwrap_or_default(),
        cart: text(&properties["cart_id"]),
    }
}

/// Each event once, in the order of posting.
fn distinct(posts: &[Post]) -> Vec<Seen> {
    let mut ids = HashSet::new();
    let all = posts.iter().flat_map(|post| &post.events).map(|json| parse(json));
    all.filter(|event| ids.insert(event.id.clone())).collect()
}

/// When carts are abandoned: one hour after the last cart event of a customer, if that left something in the cart.
/// Returns the deadline and the cart of each.
fn abandoned(events: &[Seen]) -> Vec<(i64, String)> {
    let mut by_user: HashMap<&str, BTreeMap<i64, &Seen>> = HashMap::new();
    for event in events.iter().filter(|event| event.event != "Product Viewed") {
        let before = by_user.entry(&event.user).or_default().insert(event.at_ns, event);
        assert!(before.is_none(), "{} did two things at {}", event.user, event.at_ns);
    }
    let mut deadlines = Vec::new();
    for steps in by_user.values() {
        let mut steps = steps.values().peekable();
        while let Some(step) = steps.next() {
            let silent = steps.peek().is_none_or(|next| next.at_ns - step.at_ns > HOUR);
            if silent && step.event != "Order Completed" && step.items > 0 {
                deadlines.push((step.at_ns + HOUR, step.cart.clone()));
            }
        }
    }
    deadlines
}

#[test]
fn the_same_seed_posts_the_same() {
    assert_eq!(posts(options(), 1), posts(options(), 1));
    assert_ne!(posts(options(), 1), posts(ShopOptions { seed: 8, ..options() }, 1));
}

#[test]
fn the_offered_load_is_exact_and_in_order() {
    for (rate, batch) in [(1_000, 20), (10_000, 50), (7, 1)] {
        let posts = posts(ShopOptions { rate, batch, ..options() }, 1);
        let sent: usize = posts.iter().map(|post| post.events.len()).sum();
        let due = usize::try_from(rate * 10).unwrap();
        assert!(sent <= due && sent + batch >= due, "{sent} of {due} at {rate} events/s");
        assert!(posts.is_sorted_by_key(|post| post.send_at_ns));
        for post in &posts {
            assert!(post.events.iter().all(|json| parse(json).at_ns <= post.send_at_ns));
        }
    }
}

#[test]
fn disorder_is_as_stated() {
    let mut shop = Shop::new(options());
    let posts: Vec<_> = shop.by_ref().take_while(|post| post.send_at_ns < 6 * HOUR).collect();
    let (mut latest, mut out_of_order, mut late) = (i64::MIN, 0_u32, 0_u32);
    let mut copies = 0_u32;
    let mut ids = HashSet::new();
    for event in posts.iter().flat_map(|post| &post.events).map(|json| parse(json)) {
        if !ids.insert(event.id) {
            copies += 1;
            continue;
        }
        match latest - event.at_ns {
            ..=0 => {}
            behind if behind <= DELAYED_BY.end => out_of_order += 1,
            behind => {
                assert!(behind > MINUTE, "{behind} ns late is neither within the delay nor beyond");
                late += 1;
            }
        }
        latest = latest.max(event.at_ns);
    }
    let total = f64::from(u32::try_from(ids.len()).unwrap());
    let close = |count: u32, share: f64| (f64::from(count) / total / share - 1.0).abs() < 0.2;
    assert!(close(out_of_order, DELAYED_SHARE), "{out_of_order} of {total} out of order");
    assert!(close(late, LATE_SHARE), "{late} of {total} late");
    assert!(close(copies, DUPLICATE_SHARE), "{copies} copies of {total}");
    assert!(shop.counts().created >= u64::try_from(ids.len()).unwrap());
}

#[test]
fn enough_carts_are_abandoned_at_every_rate() {
    for rate in [100, 1_000, 2_000] {
        let hours = 4;
        let options = ShopOptions { rate, customers: 0, ..options() };
        let events = distinct(&posts(options, hours));
        let deadlines = abandoned(&events);
        let settled = HOUR + 10 * MINUTE..hours * HOUR;
        let counted: Vec<_> = deadlines.iter().filter(|(at, _)| settled.contains(at)).collect();
        let wall_seconds = (settled.end - settled.start) as f64 / (360 * SECOND) as f64;
        let per_1000 = counted.len() as f64 / wall_seconds / f64::from(rate) * 1_000.0;
        println!("{rate} events/s: {per_1000:.1} abandoned carts/s for each 1,000 events/s");
        assert!((40.0..60.0).contains(&per_1000), "{per_1000}");

        let carts: HashSet<_> = counted.iter().map(|(_, cart)| cart).collect();
        assert!(carts.len() < counted.len(), "some carts are abandoned twice");
        assert!(carts.len() * 20 > counted.len() * 17, "but few");
    }
}

#[test]
fn customers_are_as_many_as_asked_or_as_needed() {
    let visited = |rate, customers| {
        let mut shop = Shop::new(ShopOptions { rate, customers, ..options() });
        shop.by_ref().take_while(|post| post.send_at_ns < 8 * HOUR).for_each(drop);
        shop.customers()
    };
    assert_eq!(visited(1_000, 5_000), 5_000);
    let needed = visited(1_000, 0);
    assert!((2_000..4_000).contains(&needed), "{needed}");
}
