//! One process, from its start to its end.

use std::{os::unix::process::ExitStatusExt, process::Command, time::Duration};

use postrider_store::Failpoint;

use super::{
    customers::Customers,
    figures::Figures,
    memory::{LiveBytes, Memory},
    plan::End,
};
use crate::process::{Running, Signal, eventually, within};

/// How long a failpoint is waited for: some are rare.
const FAILPOINT_TIME: Duration = Duration::from_secs(3);

pub(super) struct Life<'a> {
    running: Running,
    customers: &'a Customers,
    listens: bool,
    /// What it said.
    said: Vec<String>,
}

impl<'a> Life<'a> {
    pub(super) fn start(command: Command, customers: &'a Customers) -> Self {
        Self { running: Running::start(command), customers, listens: false, said: Vec::new() }
    }

    /// Takes note of what it says. False once it has ended.
    pub(super) fn look(&mut self, figures: &mut Figures) -> bool {
        let runs = self.running.runs();
        self.hear(figures);
        runs
    }

    fn hear(&mut self, figures: &mut Figures) {
        for line in self.running.new_err() {
            if let Some(url) = line.strip_prefix("collector ") {
                self.listens = true;
                self.customers.go_to(Some(format!("{}/v1/events", url.trim())));
            }
            figures.note(&line);
            self.said.push(line);
        }
    }

    /// Waits until it takes events.
    pub(super) fn ready(&mut self, figures: &mut Figures) {
        eventually("a collector", || {
            assert!(self.look(figures), "{}", self.said.join("\n"));
            self.listens
        });
    }

    /// Lets it run for so long, unless it ends by itself.
    pub(super) fn watch(&mut self, time: Duration, figures: &mut Figures) {
        within(time, || !self.look(figures));
    }

    /// Lets it come to its end.
    pub(super) fn end(mut self, end: &End, figures: &mut Figures) {
        match end {
            End::Kill(after) => {
                self.watch(*after, figures);
                self.signal_and_wait(Signal::KILL, figures);
            }
            End::Failpoint(_) => {
                self.watch(FAILPOINT_TIME, figures);
                self.signal_and_wait(Signal::KILL, figures);
            }
            End::Term(after) => {
                self.ready(figures);
                self.watch(*after, figures);
                self.stop(figures);
            }
        }
    }

    /// Waits until it has died at a failpoint, however long it takes to come there.
    pub(super) fn die_at(mut self, place: Failpoint, figures: &mut Figures) {
        eventually(place.name(), || !self.look(figures));
        self.signal_and_wait(Signal::KILL, figures);
    }

    /// Ends it in good order.
    pub(super) fn stop(mut self, figures: &mut Figures) {
        self.signal_and_wait(Signal::TERM, figures);
    }

    /// Ends it. Only a kill, its own or this one, is an end that is no success.
    pub(super) fn signal_and_wait(&mut self, signal: Signal, figures: &mut Figures) {
        if self.running.runs() {
            self.running.signal(signal);
        }
        let status = self.running.wait();
        self.customers.go_to(None);
        for line in self.running.rest_of_err().lines() {
            figures.note(line);
            self.said.push(line.to_owned());
        }
        let killed = signal == Signal::KILL && status.signal() == Some(9);
        assert!(
            killed || (signal == Signal::TERM && status.success()),
            "{status}\n{}",
            self.said.join("\n")
        );
    }

    pub(super) fn memory(&self, live: &LiveBytes) -> Memory {
        live.of(self.running.id())
    }
}
