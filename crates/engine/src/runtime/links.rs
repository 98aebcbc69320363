//! The way out of a task: chains, exchanges and channels to the next tasks.

use std::sync::Arc;

use datafusion::common::Result;
use postrider_core::{Barrier, Batch, ClockTime, Message};
use tokio::sync::mpsc::Sender;

use crate::{
    chain::{Chain, Moment},
    exchange::{Route, split},
    watermark::Progress,
};

/// An output of a node, resolved to one of the task's links.
#[derive(Debug, Clone)]
pub(crate) struct RoutedOutput {
    pub(crate) chain: Chain,
    pub(crate) route: Route,
    pub(crate) link: usize,
}

/// A batch and the channel it belongs to.
#[derive(Debug)]
pub(crate) struct Routed {
    link: usize,
    shard: usize,
    batch: Batch,
}

/// The computing half: pure, shared between the workers of a source.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) outputs: Arc<[RoutedOutput]>,
    /// Instances behind each link.
    pub(crate) shards: Arc<[usize]>,
}

impl Router {
    /// Runs a batch through every output.
    pub(crate) fn route(&self, batch: &Batch, moment: Moment) -> Result<Vec<Routed>> {
        let mut routed = Vec::new();
        for output in self.outputs.iter() {
            let Some(batch) = output.chain.run(batch, moment)? else { continue };
            let parts = split(&batch, output.route, self.shards[output.link])?;
            for (shard, part) in parts.into_iter().enumerate() {
                routed.extend(part.map(|batch| Routed { link: output.link, shard, batch }));
            }
        }
        Ok(routed)
    }
}

/// The other tasks are gone: the pipeline is stopping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

/// The sending half: one channel to every instance behind every link.
#[derive(Debug)]
pub(crate) struct Links(pub(crate) Vec<Vec<Sender<Message>>>);

impl Links {
    /// Sends batches of an epoch with this clock in order; waits where a channel is full.
    pub(crate) async fn send(&self, routed: Vec<Routed>, clock: ClockTime) -> Result<(), Closed> {
        for Routed { link, shard, batch } in routed {
            let message = Message::Batch(batch, clock);
            self.0[link][shard].send(message).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Ends an epoch on every channel.
    pub(crate) async fn end_epoch(
        &self,
        progress: Progress,
        barrier: Barrier,
    ) -> Result<(), Closed> {
        let message = match progress {
            Progress::Active(watermark) => Message::Watermark(watermark),
            Progress::Idle(watermark) => Message::Idle(watermark),
            Progress::Finished(watermark) => Message::Finished(watermark),
        };
        for channel in self.0.iter().flatten() {
            channel.send(message.clone()).await.map_err(|_| Closed)?;
            channel.send(Message::Barrier(barrier)).await.map_err(|_| Closed)?;
        }
        Ok(())
    }
}
