//! The benchmark's events: nine fields, about 430 bytes, Zipf-like customers, five seconds of disorder.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use postrider_core::format_time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::outcome::Outcome;

/// Event time from one event to the next: 2,000 events a second.
const STEP_NS: i64 = 500_000;
/// 2026-01-01T00:00:00Z.
const START_NS: i64 = 1_767_225_600_000_000_000;
/// How far an event may be behind the newest one.
const DISORDER_NS: i64 = 5_000_000_000;

/// Writes the file; returns its size.
pub(super) fn write(path: &Path, events: u64, customers: u64) -> Outcome<u64> {
    const TYPES: [&str; 5] = ["page_view", "product_view", "add_to_cart", "purchase", "heartbeat"];
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut bytes = 0;
    for number in 0..events {
        let time = START_NS + i64::try_from(number).unwrap_or(i64::MAX) * STEP_NS
            - random.random_range(0..DISORDER_NS);
        // The square of a uniform number prefers low customers, as real shops do.
        let share: f64 = random.random();
        #[expect(clippy::cast_possible_truncation, reason = "a customer number")]
        #[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
        #[expect(clippy::cast_precision_loss, reason = "a customer number")]
        let customer = (share * share * customers as f64) as u64;
        let kind = TYPES[random.random_range(0..TYPES.len())];
        let amount = f64::from(random.random_range(100..50_000_u32)) / 100.0;
        let product = random.random_range(0..10_000_u32);
        let line = format!(
            "{{\"event_id\":\"{:032x}\",\"ts\":\"{}\",\"customer_id\":\"customer-{customer:07}\",\
             \"event_type\":\"{kind}\",\"amount\":{amount},\"product_id\":\"sku-{product:05}\",\
             \"url\":\"https://shop.example/products/sku-{product:05}?ref=newsletter&utm_campaign=spring\",\
             \"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36\",\
             \"context\":{{\"ip\":\"192.0.2.{}\",\"locale\":\"en-GB\"}}}}\n",
            random.random::<u128>(),
            format_time(time),
            number % 256,
        );
        bytes += line.len() as u64;
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    Ok(bytes)
}
