//! A mail provider that accepts, refuses, throttles, and loses its answer, and remembers what it accepted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use postrider_core::SendId;
use postrider_mail::{Outcome, Outgoing, Provider};

use crate::{Dice, Fate, Injected, Life, SimClock, time::SECOND};

/// The provider outside of all processes. Clones share it.
#[derive(Debug, Clone)]
pub struct Carrier {
    state: Arc<Mutex<State>>,
    injected: Injected,
    clock: SimClock,
}

#[derive(Debug)]
struct State {
    accepted: BTreeMap<SendId, Vec<String>>,
    calm: bool,
    /// It accepts what it says that it did not.
    lying: bool,
    dice: Dice,
}

impl Carrier {
    /// A provider whose moods are rolled.
    pub fn new(dice: Dice, injected: Injected, clock: SimClock) -> Self {
        let state = State { accepted: BTreeMap::new(), calm: false, lying: false, dice };
        Self { state: Arc::new(Mutex::new(state)), injected, clock }
    }

    /// From now on it accepts everything.
    pub fn calm_down(&self) {
        self.state().calm = true;
    }

    /// From now on it accepts mails that it says it did not.
    pub fn lie(&self) {
        self.state().lying = true;
    }

    /// What it accepted: the Message-ID of each mail, by send.
    pub fn accepted(&self) -> BTreeMap<SendId, Vec<String>> {
        self.state().accepted.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll(&self) -> (u64, i64) {
        let mut state = self.state();
        let mood = if state.calm { 100 } else { state.dice.between(0, 100) };
        (mood, state.dice.between(1_000, 400_000_000).cast_signed())
    }

    /// Takes a message, and says what it answers.
    fn take(&self, message: &Outgoing, mood: u64) -> Outcome {
        let reason = "simulated".to_owned();
        let accept = || {
            let mut state = self.state();
            state.accepted.entry(message.send_id).or_default().push(message.message_id.clone());
        };
        match mood {
            0..8 => {
                self.injected.count("mail_throttled");
                if self.state().lying {
                    accept();
                }
                let after = mood.is_multiple_of(2).then(|| Duration::from_secs(20));
                Outcome::Retry { after, reason }
            }
            8..13 => {
                self.injected.count("mail_refused");
                Outcome::Rejected { code: 550, reason }
            }
            13..20 => {
                self.injected.count("mail_answer_lost");
                accept();
                Outcome::InDoubt { reason }
            }
            20..24 => {
                self.injected.count("mail_connection_lost");
                Outcome::InDoubt { reason }
            }
            _ => {
                accept();
                Outcome::Accepted { response: "250 ok".to_owned() }
            }
        }
    }
}

/// The provider as one process calls it.
#[derive(Debug)]
pub struct LifeCarrier {
    carrier: Carrier,
    life: Life,
}

impl LifeCarrier {
    /// The provider, called by this process.
    pub const fn new(carrier: Carrier, life: Life) -> Self {
        Self { carrier, life }
    }
}

#[async_trait]
impl Provider for LifeCarrier {
    fn name(&self) -> &str {
        "default"
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        let (mood, takes) = self.carrier.roll();
        self.carrier.clock.sleep(takes).await;
        let answer = match self.life.step() {
            Fate::Done => self.carrier.take(message, mood),
            Fate::DiesAfter => {
                self.carrier.take(message, mood);
                std::future::pending().await
            }
            Fate::DiesBefore | Fate::Dead => std::future::pending().await,
        };
        self.carrier.clock.sleep(takes.min(SECOND) / 2).await;
        answer
    }
}
