//! Who is in the shop and what they do next.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::{Range, RangeInclusive},
};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    MINUTE, SECOND,
    catalogue::{PRODUCTS, Product},
};

/// Product views in a visit.
const VIEWS: RangeInclusive<u32> = 3..=9;
/// Share of the visits that put something into a cart.
const FILLS: f64 = 0.6;
/// Things put into the cart, one event each.
const FILL_STEPS: RangeInclusive<u32> = 1..=3;
/// How many pieces of a thing.
const PIECES: RangeInclusive<u32> = 1..=2;
/// Share of the filled carts that are emptied again.
const EMPTIES: f64 = 0.1;
/// Share of the other filled carts that reach the checkout.
const CHECKS_OUT: f64 = 0.4;
/// Share of the checkouts that end in an order.
const BUYS: f64 = 0.65;
/// Share of those leaving with a full cart who come back to it within the hour.
const PAUSES: f64 = 0.15;
/// Share of those who then buy.
const BUYS_AFTER_PAUSE: f64 = 0.5;
/// Share of the abandoned carts that their owner finds again on the next visit.
const FINDS_CART_AGAIN: f64 = 0.2;
/// Chance that a visit is by someone who was here before, while there are customers who never were.
const RETURNS: f64 = 0.5;

/// Time between two steps of a visit.
const THINKS: Range<i64> = 5 * SECOND..60 * SECOND;
/// A pause, with a step on either side still clearly within the session gap of an hour.
const PAUSE: Range<i64> = 10 * MINUTE..50 * MINUTE;
/// Absence after a visit: always longer than the session gap of an hour.
const ABSENCE: Range<i64> = 75 * MINUTE..180 * MINUTE;

/// One thing a customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Looks at a product.
    View,
    /// Puts a product into the cart.
    Fill,
    /// Takes everything out.
    Empty,
    /// Starts to pay.
    Checkout,
    /// Buys the cart.
    Order,
}

/// What lies in a cart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cart {
    /// Its number; the next cart has another.
    pub(super) number: u64,
    /// Pieces in it.
    pub(super) items: u32,
    /// Their price.
    pub(super) cents: u64,
}

/// A step as it happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Event time since the start.
    pub(super) at_ns: i64,
    /// Who.
    pub(super) customer: usize,
    /// What.
    pub(super) step: Step,
    /// The cart after the step; an order shows what was bought.
    pub(super) cart: Cart,
    /// The product looked at, or the last one put into the cart.
    pub(super) product: &'static Product,
}

#[derive(Debug, Clone)]
struct Customer {
    cart: Option<Cart>,
    product: &'static Product,
    /// The rest of the visit, last step first: the time to think, then the step.
    plan: Vec<(i64, Step)>,
}

/// Everybody the shop knows. Each is either in the shop (`due`) or away.
#[derive(Debug)]
pub(super) struct Floor {
    customers_min: usize,
    customers: Vec<Customer>,
    carts: u64,
    due: BinaryHeap<Reverse<(i64, usize)>>,
    away: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Floor {
    pub(super) const fn new(customers_min: usize) -> Self {
        Self {
            customers_min,
            customers: Vec::new(),
            carts: 0,
            due: BinaryHeap::new(),
            away: BinaryHeap::new(),
        }
    }

    pub(super) fn seen(&self) -> usize {
        self.customers.len()
    }

    /// The next step, taken at `now` by whoever has thought long enough; if nobody has, a new visit starts.
    pub(super) fn next_moment(&mut self, now: i64, rng: &mut ChaCha8Rng) -> Moment {
        let customer = match self.due.peek() {
            Some(&Reverse((due, customer))) if due <= now => {
                self.due.pop();
                customer
            }
            _ => self.arrive(now, rng),
        };
        let (step, next) = {
            let plan = &mut self.customers[customer].plan;
            let step = plan.pop().map_or(Step::View, |(_, step)| step);
            (step, plan.last().map(|(pause, _)| *pause))
        };
        match next {
            Some(pause) => self.due.push(Reverse((now + pause, customer))),
            None => self.away.push(Reverse((now + rng.random_range(ABSENCE), customer))),
        }
        self.take_step(now, customer, step, rng)
    }

    fn take_step(
        &mut self,
        at_ns: i64,
        customer: usize,
        step: Step,
        rng: &mut ChaCha8Rng,
    ) -> Moment {
        let who = &mut self.customers[customer];
        let mut product = who.product;
        let mut cart = who.cart.unwrap_or_default();
        match step {
            Step::View => product = &PRODUCTS[rng.random_range(0..PRODUCTS.len())],
            Step::Fill => {
                if who.cart.is_none() {
                    self.carts += 1;
                    cart.number = self.carts;
                }
                let pieces = rng.random_range(PIECES);
                product = &PRODUCTS[rng.random_range(0..PRODUCTS.len())];
                cart.items += pieces;
                cart.cents += u64::from(pieces) * product.cents;
                who.product = product;
                who.cart = Some(cart);
            }
            Step::Empty => {
                cart = Cart { number: cart.number, ..Cart::default() };
                who.cart = None;
            }
            Step::Checkout => {}
            Step::Order => who.cart = None,
        }
        Moment { at_ns, customer, step, cart, product }
    }

    /// Starts the visit of somebody who has been away long enough, or of somebody new.
    fn arrive(&mut self, now: i64, rng: &mut ChaCha8Rng) -> usize {
        let rested = self.away.peek().is_some_and(|Reverse((from, _))| *from <= now);
        let all_seen = self.customers.len() >= self.customers_min;
        let customer = if rested
            && (all_seen || rng.random_bool(RETURNS))
            && let Some(Reverse((_, customer))) = self.away.pop()
        {
            customer
        } else {
            self.customers.push(Customer { cart: None, product: &PRODUCTS[0], plan: Vec::new() });
            self.customers.len() - 1
        };
        let who = &mut self.customers[customer];
        if !rng.random_bool(FINDS_CART_AGAIN) {
            who.cart = None;
        }
        who.plan = plan_visit(rng);
        customer
    }
}

/// Rolls a visit from the first step to the last and returns it last step first.
fn plan_visit(rng: &mut ChaCha8Rng) -> Vec<(i64, Step)> {
    let mut plan = Vec::new();
    for _ in 0..rng.random_range(VIEWS) {
        plan.push((rng.random_range(THINKS), Step::View));
    }
    if rng.random_bool(FILLS) {
        for _ in 0..rng.random_range(FILL_STEPS) {
            plan.push((rng.random_range(THINKS), Step::Fill));
        }
        plan_end(&mut plan, rng);
    }
    plan.reverse();
    plan
}

/// What becomes of a full cart.
fn plan_end(plan: &mut Vec<(i64, Step)>, rng: &mut ChaCha8Rng) {
    if rng.random_bool(EMPTIES) {
        plan.push((rng.random_range(THINKS), Step::Empty));
        return;
    }
    if rng.random_bool(CHECKS_OUT) {
        plan.push((rng.random_range(THINKS), Step::Checkout));
        if rng.random_bool(BUYS) {
            plan.push((rng.random_range(THINKS), Step::Order));
            return;
        }
    }
    if rng.random_bool(PAUSES) {
        plan.push((rng.random_range(PAUSE), Step::View));
        plan.push((rng.random_range(THINKS), Step::Checkout));
        if rng.random_bool(BUYS_AFTER_PAUSE) {
            plan.push((rng.random_range(THINKS), Step::Order));
        }
    }
}
