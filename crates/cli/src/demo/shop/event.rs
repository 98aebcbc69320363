//! Writes what happens as the JSON that a Segment SDK would post.

use postrider_core::format_time;
use serde::Serialize;

use super::{
    SECOND,
    catalogue::{first_name, last_name},
    visit::{Moment, Step},
};

/// Event times are written to the millisecond, as browsers have them.
const MILLISECOND: i64 = 1_000_000;

/// Writes events and numbers them.
#[derive(Debug)]
pub(super) struct Writer {
    start_ns: i64,
    written: u64,
}

/// A `track` call of the Segment HTTP API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Track<'a> {
    r#type: &'static str,
    message_id: String,
    user_id: String,
    event: &'static str,
    timestamp: String,
    properties: Properties<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Properties<'a> {
    Product {
        product: &'a str,
        price: f64,
    },
    Cart {
        cart_id: String,
        cart_value: f64,
        item_count: u32,
        product: &'a str,
        first_name: &'a str,
        email: String,
    },
}

impl Writer {
    pub(super) const fn new(start_ns: i64) -> Self {
        Self { start_ns, written: 0 }
    }

    /// Ids that two runs share would be taken for the same messages and carts: they carry the run's start.
    fn run(&self) -> i64 {
        self.start_ns / SECOND
    }

    pub(super) fn track(&mut self, moment: &Moment) -> String {
        self.written += 1;
        let at_ns = self.start_ns + moment.at_ns;
        let track = Track {
            r#type: "track",
            message_id: format!("shop-{:x}-{}", self.run(), self.written),
            user_id: format!("customer-{}", moment.customer + 1),
            event: match moment.step {
                Step::View => "Product Viewed",
                Step::Fill | Step::Empty => "Cart Updated",
                Step::Checkout => "Checkout Started",
                Step::Order => "Order Completed",
            },
            timestamp: format_time(at_ns - at_ns.rem_euclid(MILLISECOND)),
            properties: self.properties(moment),
        };
        // Strings and finite numbers always serialise.
        serde_json::to_string(&track).unwrap_or_default()
    }

    fn properties<'a>(&self, moment: &Moment) -> Properties<'a> {
        let product = moment.product.name;
        if moment.step == Step::View {
            return Properties::Product { product, price: dollars(moment.product.cents) };
        }
        Properties::Cart {
            cart_id: format!("cart-{:x}-{}", self.run(), moment.cart.number),
            cart_value: dollars(moment.cart.cents),
            item_count: moment.cart.items,
            product,
            first_name: first_name(moment.customer),
            email: email(moment.customer),
        }
    }
}

/// `ada.berg.17@customers.example`: nobody's address (RFC 2606), unique by the customer's number.
fn email(customer: usize) -> String {
    let ascii = |name: &str| {
        name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
    };
    let (first, last) = (ascii(first_name(customer)), ascii(last_name(customer)));
    format!("{first}.{last}.{}@customers.example", customer + 1)
}

/// Prices stay far below 2^53 cents, so the quotient is the nearest number to the price.
fn dollars(cents: u64) -> f64 {
    cents as f64 / 100.0
}
