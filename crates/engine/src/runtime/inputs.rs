//! The way into a task: several channels, read epoch by epoch in a fixed order.
//!
//! Within an epoch the rows of channel 0 are processed before those of channel 1, and so on, so
//! that a replay repeats floating-point sums bit by bit. Channels whose turn has not come are
//! drained into a buffer meanwhile: were they left alone, two branches of one source could block
//! each other. A channel is not read past its barrier, so the buffer holds one epoch at most.

use std::{collections::VecDeque, future::poll_fn, task::Poll};

use postrider_core::{Barrier, Batch, Message};
use tokio::sync::mpsc::Receiver;

use crate::watermark::{Combiner, Progress};

/// What comes next.
#[derive(Debug)]
pub(crate) enum Input {
    /// Rows of the current epoch.
    Batch(Batch),
    /// The epoch is over on every channel.
    EpochEnd(Progress, Barrier),
}

#[derive(Debug)]
struct Channel {
    receiver: Receiver<Message>,
    waiting: VecDeque<Batch>,
    barrier: Option<Barrier>,
}

/// The input channels of a task.
#[derive(Debug)]
pub(crate) struct Inputs {
    channels: Vec<Channel>,
    turn: usize,
    combiner: Combiner,
}

impl Inputs {
    pub(crate) fn new(receivers: Vec<Receiver<Message>>) -> Self {
        let combiner = Combiner::new(receivers.len());
        let channel = |receiver| Channel { receiver, waiting: VecDeque::new(), barrier: None };
        Self { channels: receivers.into_iter().map(channel).collect(), turn: 0, combiner }
    }

    /// The next rows or the end of the epoch; `None` once a channel is closed.
    pub(crate) async fn next(&mut self) -> Option<Input> {
        loop {
            while let Some(channel) = self.channels.get_mut(self.turn) {
                if let Some(batch) = channel.waiting.pop_front() {
                    return Some(Input::Batch(batch));
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
                Message::Batch(batch) => self.channels[from].waiting.push_back(batch),
                Message::Watermark(w) => self.combiner.set(from, Progress::Active(w)),
                Message::Idle(w) => self.combiner.set(from, Progress::Idle(w)),
                Message::Finished(w) => self.combiner.set(from, Progress::Finished(w)),
                Message::Barrier(barrier) => self.channels[from].barrier = Some(barrier),
            }
        }
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
                if let Poll::Ready(message) = channel.receiver.poll_recv(context) {
                    return Poll::Ready(message.map(|message| (index, message)));
                }
            }
            Poll::Pending
        })
        .await
    }
}
