//! Those who post events: they keep what was not answered, and post it again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::Clock;
use postrider_store::{Log, LogError};

use crate::{Dice, Event, Injected, SimClock, Violation, journal::Journal, time::SECOND};

/// All customers' devices, and the collector's memory of message ids. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    state: Arc<Mutex<State>>,
    injected: Injected,
    clock: SimClock,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    number: u64,
    /// To be posted again.
    waiting: VecDeque<Event>,
    /// Posted, and not answered yet.
    posted: BTreeMap<String, Event>,
    /// Answered 2xx.
    accepted: BTreeMap<String, Event>,
    /// What the collector remembers.
    known: BTreeSet<String>,
}

impl Client {
    /// Nobody has posted yet.
    pub fn new(dice: Dice, injected: Injected, clock: SimClock) -> Self {
        let state = State {
            dice,
            number: 0,
            waiting: VecDeque::new(),
            posted: BTreeMap::new(),
            accepted: BTreeMap::new(),
            known: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), injected, clock }
    }

    /// A new process: it remembers what is in the log, and whoever got no answer will ask again.
    ///
    /// # Errors
    /// An event that was answered is not in the log, or one is there twice.
    pub fn restart(&self, journal: &Journal) -> Result<(), Violation> {
        let mut state = self.state();
        state.known.clear();
        for (place, event) in journal.events()? {
            if !state.known.insert(event.id.clone()) {
                let what = format!("event {} is accepted again at {place}", event.id);
                return Err(Violation::twice(1, what));
            }
        }
        let lost: Vec<_> = state.accepted.keys().filter(|id| !state.known.contains(*id)).collect();
        if !lost.is_empty() {
            let what = format!("events {lost:?} were accepted and are gone");
            return Err(Violation::lost(lost.len() as u64, what));
        }
        let unanswered = std::mem::take(&mut state.posted);
        state.waiting.extend(unanswered.into_values());
        Ok(())
    }

    /// Whether every event was answered.
    pub fn is_done(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.posted.is_empty()
    }

    /// Whether some event waits to be posted again.
    pub fn is_waiting(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Posts the next event: one that waits, or a new one.
    pub fn post(&self, log: &Log) {
        let event = {
            let mut state = self.state();
            match state.waiting.pop_front() {
                Some(event) => event,
                None => self.create(&mut state),
            }
        };
        self.submit(log, event);
    }

    /// Posts an event again that was answered.
    pub fn post_again(&self, log: &Log) {
        let event = {
            let mut state = self.state();
            let count = state.accepted.len() as u64;
            let chosen = usize::try_from(state.dice.between(0, count)).unwrap_or(0);
            state.accepted.values().nth(chosen).cloned()
        };
        if let Some(event) = event {
            self.submit(log, event);
        }
    }

    fn create(&self, state: &mut State) -> Event {
        state.number += 1;
        let behind = match state.dice.between(0, 10) {
            0 => state.dice.between(0, 300),
            1 | 2 => state.dice.between(0, 30),
            _ => state.dice.between(0, 5),
        };
        let now = self.clock.now().0.div_euclid(SECOND);
        Event {
            id: format!("m{}", state.number),
            user: format!("u{}", state.dice.between(0, 5)),
            ts: (now - behind.cast_signed()) * SECOND,
            value: state.dice.between(0, 100).cast_signed() - 50,
        }
    }

    fn submit(&self, log: &Log, event: Event) {
        {
            let mut state = self.state();
            if !state.known.insert(event.id.clone()) {
                self.injected.count("duplicate_event");
                if !state.posted.contains_key(&event.id) {
                    state.accepted.insert(event.id.clone(), event);
                }
                return;
            }
            state.posted.insert(event.id.clone(), event.clone());
        }
        let (client, log, now) = (self.clone(), log.clone(), self.clock.now().0);
        tokio::spawn(async move {
            let appended = match log.submit_if_room(vec![event.frame(now)]).await {
                Ok(ticket) => ticket.durable().await.map(drop),
                Err(error) => Err(error),
            };
            client.answered(event, &appended);
        });
    }

    fn answered(&self, event: Event, appended: &Result<(), LogError>) {
        let mut state = self.state();
        match appended {
            Ok(()) => {
                state.posted.remove(&event.id);
                state.accepted.insert(event.id.clone(), event);
            }
            Err(LogError::DiskFull { .. }) => {
                state.posted.remove(&event.id);
                state.known.remove(&event.id);
                state.waiting.push_back(event);
            }
            // Nobody knows. It stays unanswered until another process is asked.
            Err(_) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
