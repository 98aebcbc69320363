//! One life of a process: from its start to the operation at which it dies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Dice;

/// When a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Not by itself.
    Never,
    /// At so many operations after its start, if it has not recovered by then.
    Recovering(u64),
    /// At so many operations after it has recovered.
    Running(u64),
    /// Likewise, and before that operation or after it, as is said.
    Exactly {
        /// The number of the operation; the first is 1.
        operation: u64,
        /// Whether it is done.
        done: bool,
    },
}

/// What becomes of an operation on the world outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it and learns no answer.
    DiesAfter,
    /// There is no process any more.
    Dead,
}

/// A process, as what it works with sees it. Clones share it.
#[derive(Debug, Clone)]
pub struct Life {
    state: Arc<Mutex<State>>,
    died: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    dead: bool,
    recovered: bool,
    death: Death,
    operations: u64,
    dice: Dice,
}

impl Life {
    /// A process that will die so.
    pub fn new(death: Death, dice: Dice) -> Self {
        let state = State { dead: false, recovered: false, death, operations: 0, dice };
        Self { state: Arc::new(Mutex::new(state)), died: Arc::default() }
    }

    /// Counts an operation on the world outside.
    pub fn step(&self) -> Fate {
        let mut state = self.state();
        if state.dead {
            return Fate::Dead;
        }
        state.operations += 1;
        let last = match state.death {
            Death::Never => false,
            Death::Recovering(at) => !state.recovered && state.operations >= at,
            Death::Running(at) | Death::Exactly { operation: at, .. } => {
                state.recovered && state.operations >= at
            }
        };
        if !last {
            return Fate::Done;
        }
        state.dead = true;
        self.died.notify_one();
        let done = match state.death {
            Death::Exactly { done, .. } => done,
            _ => state.dice.percent(50),
        };
        if done { Fate::DiesAfter } else { Fate::DiesBefore }
    }

    /// How much of something is done of which any part may be.
    pub fn part_of(&self, whole: u64) -> u64 {
        self.state().dice.between(0, whole + 1)
    }

    /// It is up.
    pub fn recovered(&self) {
        let mut state = self.state();
        (state.recovered, state.operations) = (true, 0);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.state().dead = true;
        self.died.notify_one();
    }

    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether it died before it was up.
    pub fn died_recovering(&self) -> bool {
        let state = self.state();
        state.dead && !state.recovered
    }

    /// Waits for its death.
    pub async fn died(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
