//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::{Failure, Outcome};

/// Hears requests to stop from when it is made: one that comes before anybody waits is not lost.
pub(crate) struct Interrupts {
    pressed: Signal,
    terminated: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> Outcome<Self> {
        let hear = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("can't hear Ctrl-C: {error}")))
        };
        Ok(Self {
            pressed: hear(SignalKind::interrupt())?,
            terminated: hear(SignalKind::terminate())?,
        })
    }

    /// Completes on the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.pressed.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }
}
