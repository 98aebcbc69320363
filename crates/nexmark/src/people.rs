//! What people are called and where they live.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    event::Person,
    text::{one_of, padding, words},
};

const FIRST_NAMES: [&str; 10] =
    ["Ada", "Ben", "Chloe", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas"];
const LAST_NAMES: [&str; 8] =
    ["Archer", "Baker", "Carter", "Fisher", "Mason", "Potter", "Smith", "Weaver"];
const CITIES: [&str; 10] = [
    "Bend",
    "Boise",
    "Cheyenne",
    "Kent",
    "Los Angeles",
    "Phoenix",
    "Portland",
    "Redmond",
    "San Francisco",
    "Seattle",
];
/// Few, so that a filter by state finds somebody among few people.
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
/// Bytes of an event.
const AVERAGE_BYTES: usize = 200;

/// A person of this id and time.
pub(crate) fn person(random: &mut ChaCha8Rng, id: u64, date_time: i64) -> Person {
    let first = one_of(random, &FIRST_NAMES);
    let last = one_of(random, &LAST_NAMES);
    let name = format!("{first} {last}");
    let email_address = format!("{}.{id}@mail.example", words(random, 7).replace(' ', "-"));
    let groups: [u16; 4] = std::array::from_fn(|_| random.random_range(0..10_000));
    let credit_card = groups.map(|digits| format!("{digits:04}")).join(" ");
    let city = one_of(random, &CITIES).to_owned();
    let state = one_of(random, &STATES).to_owned();
    let used = 16 + name.len() + email_address.len() + credit_card.len() + city.len() + state.len();
    let extra = padding(random, used, AVERAGE_BYTES);
    Person { id, name, email_address, credit_card, city, state, date_time, extra }
}
