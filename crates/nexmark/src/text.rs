//! Texts, prices and pages at random.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How many small channels there are.
const CHANNELS: u32 = 10_000;
/// The large ones, each with pages of its own. Half of all bids come through them.
const LARGE_CHANNELS: [&str; 4] = ["Apple", "Google", "Facebook", "Baidu"];

/// One of several texts.
pub(crate) fn one_of(random: &mut ChaCha8Rng, texts: &[&'static str]) -> &'static str {
    texts.get(random.random_range(0..texts.len())).copied().unwrap_or_default()
}

/// Lower-case letters, with a space between words.
pub(crate) fn words(random: &mut ChaCha8Rng, length: usize) -> String {
    let letter = |random: &mut ChaCha8Rng| match random.random_range(0..13_u8) {
        0 => ' ',
        _ => char::from(random.random_range(b'a'..=b'z')),
    };
    (0..length).map(|_| letter(random)).collect()
}

/// Padding that brings a row of `used` bytes to `average` bytes, give or take a fifth of what it adds.
pub(crate) fn padding(random: &mut ChaCha8Rng, used: usize, average: usize) -> String {
    let missing = average.saturating_sub(used);
    let spread = missing / 5;
    let length = random.random_range(missing - spread..=missing + spread);
    (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}

/// Cents, from 100 to 100,000,000, as many of each magnitude.
#[expect(clippy::cast_possible_truncation, reason = "prices have nine digits")]
#[expect(clippy::cast_sign_loss, reason = "prices are positive")]
pub(crate) fn price(random: &mut ChaCha8Rng) -> u64 {
    let magnitude: f64 = random.random();
    (10_f64.powf(magnitude * 6.0) * 100.0).round() as u64
}

/// A channel and the page of a bid. Of ten small channels nine name themselves in the page.
pub(crate) fn channel_and_page(random: &mut ChaCha8Rng) -> (String, String) {
    let small = random.random_range(0..2) == 0;
    if small {
        let channel = random.random_range(0..CHANNELS);
        let page = page(u64::from(channel));
        let named = random.random_range(0..10) > 0;
        let id =
            if named { format!("&channel_id={}", channel.reverse_bits()) } else { String::new() };
        (format!("channel-{channel}"), format!("{page}{id}"))
    } else {
        let large = random.random_range(0..LARGE_CHANNELS.len());
        let name = LARGE_CHANNELS.get(large).copied().unwrap_or_default();
        (name.to_owned(), page(u64::from(CHANNELS) + large as u64))
    }
}

/// Always the same page for a number, three folders deep.
fn page(number: u64) -> String {
    let folder = |step: u64| {
        let mut rest = number.wrapping_add(step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut letters = String::new();
        for _ in 0..5 {
            letters.push(char::from(b'a' + (rest % 26) as u8));
            rest /= 26;
        }
        letters
    };
    format!(
        "https://auctions.example/{}/{}/{}/item.htm?query=1",
        folder(1 << 20),
        folder(2 << 20),
        folder(3 << 20)
    )
}
