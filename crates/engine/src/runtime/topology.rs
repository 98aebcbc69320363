//! From a dataflow to tasks and channels.

use std::{collections::BTreeMap, sync::Arc};

use postrider_core::Message;
use tokio::sync::mpsc::{Sender, channel};

use super::{
    inputs::Way,
    links::{Links, RoutedOutput, Router},
};
use crate::{
    dataflow::{Dataflow, Output, Target},
    exchange::Route,
    limits::CHANNEL_MESSAGES,
};

/// The channels of a dataflow, to be taken by its tasks.
pub(crate) struct Topology {
    /// For each source, its way out.
    pub(crate) sources: Vec<(Router, Links)>,
    /// For each stage and shard, its way out.
    pub(crate) stages: Vec<Vec<(Router, Links)>>,
    /// For each target and instance, its ways in; in the order sources, then stages, then shards,
    /// which is the order in which rows are taken.
    pub(crate) inputs: BTreeMap<Target, Vec<Vec<Way>>>,
}

impl Topology {
    /// Wires a dataflow with `shards` instances of every stage.
    pub(crate) fn new(flow: &Dataflow, shards: usize) -> Self {
        let instances = |target: Target| match target {
            Target::Stage(_) => shards,
            Target::Sink(_) => 1,
        };
        let mut wiring = Wiring { inputs: BTreeMap::new(), instances: &instances };
        let targets = (0..flow.stages.len())
            .map(Target::Stage)
            .chain((0..flow.sinks.len()).map(Target::Sink));
        for target in targets {
            let empty = (0..instances(target)).map(|_| Vec::new()).collect();
            wiring.inputs.insert(target, empty);
        }
        let sources =
            flow.sources.iter().map(|source| wiring.connect(None, &source.outputs)).collect();
        let stages = flow
            .stages
            .iter()
            .enumerate()
            .map(|(index, stage)| {
                (0..shards).map(|_| wiring.connect(Some(index), &stage.outputs)).collect()
            })
            .collect();
        Self { sources, stages, inputs: wiring.inputs }
    }
}

struct Wiring<'a> {
    inputs: BTreeMap<Target, Vec<Vec<Way>>>,
    instances: &'a dyn Fn(Target) -> usize,
}

impl Wiring<'_> {
    /// Gives one producing task a channel to every instance of every target; several outputs to the
    /// same input of a target share it.
    fn connect(&mut self, from: Option<usize>, outputs: &[Output]) -> (Router, Links) {
        let input = |output: &Output| (output.target, output.port);
        let mut targets: Vec<(Target, usize)> = outputs.iter().map(input).collect();
        targets.sort_unstable();
        targets.dedup();
        let links: Vec<Vec<Sender<Message>>> =
            targets.iter().map(|(target, port)| self.channels(from, *target, *port)).collect();
        let routed = outputs.iter().map(|output| RoutedOutput {
            chain: output.chain.clone(),
            route: match output.target {
                Target::Sink(_) => Route::First,
                Target::Stage(_) => output.route,
            },
            link: targets.iter().position(|target| *target == input(output)).unwrap_or(0),
        });
        let shards = links.iter().map(Vec::len).collect();
        (Router { outputs: routed.collect::<Arc<[_]>>(), shards }, Links(links))
    }

    fn channels(
        &mut self,
        from: Option<usize>,
        target: Target,
        port: usize,
    ) -> Vec<Sender<Message>> {
        // A sink takes rows as they come: trigger rows are a multiset.
        let stage = from.filter(|_| matches!(target, Target::Stage(_)));
        let mut senders = Vec::new();
        for instance in 0..(self.instances)(target) {
            let (sender, receiver) = channel(CHANNEL_MESSAGES);
            if let Some(inputs) =
                self.inputs.get_mut(&target).and_then(|inputs| inputs.get_mut(instance))
            {
                inputs.push(Way { port, stage, receiver });
            }
            senders.push(sender);
        }
        senders
    }
}
