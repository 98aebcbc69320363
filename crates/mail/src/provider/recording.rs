//! Mail kept in memory, for fixtures, previews and tests.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Outcome, Provider};
use crate::message::Outgoing;

/// Accepts everything and remembers it, unless it was told how to answer.
#[derive(Debug, Default)]
pub struct RecordingProvider {
    name: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    calls: Vec<Outgoing>,
    answers: VecDeque<Outcome>,
}

impl RecordingProvider {
    /// A provider that accepts everything.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), memory: Mutex::default() }
    }

    /// A provider that gives these answers first, in order, and then accepts everything.
    pub fn answering(name: impl Into<String>, answers: impl IntoIterator<Item = Outcome>) -> Self {
        let memory = Memory { calls: Vec::new(), answers: answers.into_iter().collect() };
        Self { name: name.into(), memory: Mutex::new(memory) }
    }

    /// Every message it was called with, whatever it answered, in the order of the calls. A dispatcher that may have
    /// more than one send in flight makes its calls in no fixed order.
    pub fn calls(&self) -> Vec<Outgoing> {
        self.lock().calls.clone()
    }

    /// Takes the messages out, so that a long run does not keep them all.
    pub fn take_calls(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.lock().calls)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic elsewhere can't leave the two lists half changed.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provider for RecordingProvider {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        let mut memory = self.lock();
        memory.calls.push(message.clone());
        memory.answers.pop_front().unwrap_or_else(|| Outcome::Accepted {
            response: format!("recorded as number {}", memory.calls.len()),
        })
    }
}
