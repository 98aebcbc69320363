//! How many rows are in which state, and the law that none is lost.

use std::collections::BTreeMap;

use super::SendState;

/// Rows by state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// All sealed rows.
    pub trigger_rows: u64,
    /// No intent and no decision yet.
    pub undecided: u64,
    /// An intent of the running generation without a result.
    pub in_flight: u64,
    /// Certainly not taken over by the provider; to be tried again.
    pub retry: u64,
    /// Taken over by the provider.
    pub accepted: u64,
    /// Refused by the provider for good.
    pub rejected: u64,
    /// Nobody knows whether the provider took it over.
    pub in_doubt: u64,
    /// Not sent, by reason.
    pub not_sent: BTreeMap<String, u64>,
}

impl Counts {
    /// Rows that something will still happen to.
    pub const fn pending(&self) -> u64 {
        self.undecided + self.in_flight + self.retry
    }

    /// Rows that were not sent, for whatever reason.
    pub fn not_sent_total(&self) -> u64 {
        self.not_sent.values().sum()
    }

    /// The law: no sealed row is lost, and none is in two states.
    pub fn conserved(&self) -> bool {
        let states =
            self.accepted + self.rejected + self.not_sent_total() + self.pending() + self.in_doubt;
        self.trigger_rows == states
    }

    /// Rows became visible.
    pub(super) fn seal(&mut self, rows: u32) {
        self.trigger_rows += u64::from(rows);
        self.undecided += u64::from(rows);
    }

    /// A row that was undecided is now in this state.
    pub(super) fn decide(&mut self, state: &SendState) {
        self.undecided -= 1;
        self.enter(state);
    }

    /// A row gets into this state.
    pub(super) fn enter(&mut self, state: &SendState) {
        *self.rows_in(state) += 1;
    }

    /// A row leaves this state.
    pub(super) fn leave(&mut self, state: &SendState) {
        *self.rows_in(state) -= 1;
        if matches!(state, SendState::NotSent { .. }) {
            self.not_sent.retain(|_, rows| *rows > 0);
        }
    }

    fn rows_in(&mut self, state: &SendState) -> &mut u64 {
        match state {
            SendState::Intended { .. } => &mut self.in_flight,
            SendState::Accepted => &mut self.accepted,
            SendState::Rejected => &mut self.rejected,
            SendState::Retry { .. } => &mut self.retry,
            SendState::InDoubt { .. } => &mut self.in_doubt,
            SendState::NotSent { reason } => self.not_sent.entry(reason.to_string()).or_default(),
        }
    }
}
