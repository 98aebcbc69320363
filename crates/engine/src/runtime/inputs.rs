//! The way into a task: several channels, read epoch by epoch in a fixed order.
//!
//! Within an epoch the rows of channel 0 are processed before those of channel 1, and so on, so
//! that a replay repeats floating-point sums bit by bit. Channels whose turn has not come are
//! drained into a buffer meanwhile: were they left alone, two branches of one source could block
//! each other. A channel is not read past its barrier, so the buffer holds one epoch at most.
//!
//! What the instances of one stage send is gathered first: which of them sends a row depends on how many
//! there are, and the order of rows must not.

use std::{collections::VecDeque, future::poll_fn, task::Poll};

use postrider_core::{Barrier, Batch, ClockTime, Message, Watermark};
use tokio::sync::mpsc::Receiver;

use crate::watermark::{Combiner, Progress};

/// What comes next.
#[derive(Debug)]
pub(crate) enum Input {
    /// Rows of the current epoch, and the input they belong to.
    Batch(usize, Batch),
    /// All rows of the current epoch that the instances of one stage sent, to be put in order.
    Gathered(usize, Vec<Batch>),
    /// The epoch is over on every channel.
    EpochEnd(Progress, Barrier),
}

/// A channel into a task.
#[derive(Debug)]
pub(crate) struct Way {
    /// The input of the operator that it leads to.
    pub(crate) port: usize,
    /// The stage whose instances' rows are gathered; they come one after the other.
    pub(crate) stage: Option<usize>,
    pub(crate) receiver: Receiver<Message>,
}

#[derive(Debug)]
struct Channel {
    way: Way,
    waiting: VecDeque<Batch>,
    barrier: Option<Barrier>,
}

/// The input channels of a task.
#[derive(Debug)]
pub(crate) struct Inputs {
    channels: Vec<Channel>,
    turn: usize,
    combiner: Combiner,
    /// The clock of the epoch whose rows come. No channel is read past its barrier, so it is that of all of them.
    clock: ClockTime,
}

impl Inputs {
    /// `combined` is the watermark up to which these inputs were read before.
    pub(crate) fn new(ways: Vec<Way>, combined: Option<Watermark>) -> Self {
        let combiner = Combiner::new(ways.len(), combined.unwrap_or(Watermark::MIN));
        let channel = |way| Channel { way, waiting: VecDeque::new(), barrier: None };
        let channels = ways.into_iter().map(channel).collect();
        Self { channels, turn: 0, combiner, clock: ClockTime(i64::MIN) }
    }

    /// The clock of the epoch that the last rows are of.
    pub(crate) const fn clock(&self) -> ClockTime {
        self.clock
    }

    /// The next rows or the end of the epoch; `None` once a channel is closed.
    pub(crate) async fn next(&mut self) -> Option<Input> {
        loop {
            while let Some(channel) = self.channels.get_mut(self.turn) {
                let port = channel.way.port;
                if let Some(stage) = channel.way.stage {
                    match self.gather(port, stage) {
                        Some(batches) if batches.is_empty() => continue,
                        Some(batches) => return Some(Input::Gathered(port, batches)),
                        None => break,
                    }
                }
                if let Some(batch) = channel.waiting.pop_front() {
                    return Some(Input::Batch(port, batch));
                }
                if channel.barrier.is_none() {
                    break;
                }
                self.turn += 1;
            }
            if self.turn == self.channels.len() {
                return self.end_epoch();
            }
            let (from, message) = self.receive().await?;
            match message {
                Message::Batch(batch, clock) => {
                    self.clock = clock;
                    self.channels[from].waiting.push_back(batch);
                }
                Message::Watermark(w) => self.combiner.set(from, Progress::Active(w)),
                Message::Idle(w) => self.combiner.set(from, Progress::Idle(w)),
                Message::Finished(w) => self.combiner.set(from, Progress::Finished(w)),
                Message::Barrier(barrier) => self.channels[from].barrier = Some(barrier),
            }
        }
    }

    /// Takes all rows of a stage whose turn it is, once every instance reached its barrier.
    fn gather(&mut self, port: usize, stage: usize) -> Option<Vec<Batch>> {
        let is_it = |way: &Way| way.port == port && way.stage == Some(stage);
        let from = self.turn;
        let instances = self.channels[from..].iter().take_while(|c| is_it(&c.way));
        if instances.clone().any(|channel| channel.barrier.is_none()) {
            return None;
        }
        self.turn += instances.count();
        let instances = self.channels[from..].iter_mut().take_while(|c| is_it(&c.way));
        Some(instances.flat_map(|channel| channel.waiting.drain(..)).collect())
    }

    /// Whether an input was read to its end, at the end of an epoch.
    pub(crate) fn has_ended(&self, port: usize) -> bool {
        let own = self.channels.iter().enumerate().filter(|(_, channel)| channel.way.port == port);
        own.map(|(index, _)| index).all(|index| self.combiner.has_ended(index))
    }

    /// How many inputs there are.
    pub(crate) fn ports(&self) -> usize {
        self.channels.iter().map(|channel| channel.way.port + 1).max().unwrap_or(0)
    }

    fn end_epoch(&mut self) -> Option<Input> {
        self.turn = 0;
        let barriers: Vec<_> =
            self.channels.iter_mut().filter_map(|channel| channel.barrier.take()).collect();
        let barrier = *barriers.first()?;
        Some(Input::EpochEnd(self.combiner.combined(), barrier))
    }

    /// A message of any channel that has not reached its barrier.
    async fn receive(&mut self) -> Option<(usize, Message)> {
        poll_fn(|context| {
            for (index, channel) in self.channels.iter_mut().enumerate() {
                if channel.barrier.is_some() {
                    continue;
                }
                if let Poll::Ready(message) = channel.way.receiver.poll_recv(context) {
                    return Poll::Ready(message.map(|message| (index, message)));
                }
            }
            Poll::Pending
        })
        .await
    }
}
