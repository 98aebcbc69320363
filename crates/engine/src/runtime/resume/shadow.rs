//! How a program goes through the epochs that another one sealed.

use std::collections::BTreeMap;

use postrider_core::{Epoch, Watermark};
use postrider_store::{EpochSealed, Lsn, SourceSeal};

use super::newest::{Found, blocking};
use crate::{
    EngineError, PipelineOptions,
    chain::ChainStep,
    dataflow::Dataflow,
    operator::OperatorSpec,
    runtime::{
        checkpoint::Checkpoints,
        replay::{SealedEpochs, start},
        restore::SourceStart,
    },
    upgrade::{Fate, UpgradePlan},
};

/// Sealed epochs are gone through without a comparison, and nothing of them is written or fired.
#[derive(Debug, Clone)]
pub(crate) struct Shadow {
    /// From the first epoch that the log has, because some operator is rebuilt; otherwise from the checkpoint.
    pub(crate) from_log: bool,
    /// Where each source begins then.
    pub(crate) starts: BTreeMap<String, SourceStart>,
    /// The epoch behind which operators that keep their state get it; `None`: they have it from the beginning.
    pub(crate) kept_from: Option<Epoch>,
    /// Nothing is gone through: everything is read again as if it were new.
    pub(crate) refire: bool,
}

/// Decides how, and refuses what would leave a gap.
pub(super) async fn plan_shadow(
    options: &PipelineOptions,
    checkpoints: &Checkpoints,
    flow: &Dataflow,
    plan: &UpgradePlan,
    found: &Found,
) -> Result<Shadow, EngineError> {
    let refire = checkpoints.refire;
    if plan.keeps_all() && !refire {
        let starts = BTreeMap::new();
        return Ok(Shadow { from_log: false, starts, kept_from: None, refire });
    }
    let first = first_seal(options).await?;
    if !checkpoints.accept_gap && options.log.start() > Lsn(0) {
        check_gap(options, flow, plan, first.as_ref(), found.newest.as_ref())?;
    }
    let sources = first.iter().flat_map(|seal| &seal.sources);
    let starts = sources.map(|seal| (seal.table.clone(), start_of(seal))).collect();
    // Without an epoch before the checkpoint there is nothing to go through first.
    let before = first.as_ref().is_some_and(|seal| seal.epoch <= plan.epoch);
    let kept_from = plan.manifest.filter(|_| before).map(|_| Epoch(plan.epoch));
    Ok(Shadow { from_log: true, starts, kept_from, refire })
}

fn start_of(seal: &SourceSeal) -> SourceStart {
    SourceStart { position: start(seal), watermark: Watermark::MIN, last_event_time: None }
}

/// The first epoch of the pipeline that the log still has.
async fn first_seal(options: &PipelineOptions) -> Result<Option<EpochSealed>, EngineError> {
    let (log, name) = (options.log.clone(), options.program.name.0.clone());
    let read = move || {
        let mut epochs = SealedEpochs::new(&log, log.start(), &name);
        epochs.next_epoch().map(|sealed| sealed.map(|sealed| sealed.record))
    };
    blocking(options, read).await?
}

/// Windows that are open now must begin behind the first epoch that the log has. A session may have begun at any time.
fn check_gap(
    options: &PipelineOptions,
    flow: &Dataflow,
    plan: &UpgradePlan,
    first: Option<&EpochSealed>,
    newest: Option<&EpochSealed>,
) -> Result<(), EngineError> {
    let rebuilt = flow.stages.iter().zip(&plan.operators);
    let rebuilt = rebuilt.filter(|(_, operator)| operator.fate == Fate::Rebuild);
    let reaches: Option<Vec<i64>> =
        rebuilt.map(|(stage, _)| OperatorSpec::reach(&stage.operator)).collect();
    // A window over a window reaches back as far as both together.
    let reaches = reaches.map(|reaches| reaches.into_iter().chain(put_into_windows(flow)));
    let reach = reaches.map(|reaches| reaches.fold(0_i64, i64::saturating_add));
    let begins = first.map_or(i64::MAX, |seal| seal.watermark);
    let now = newest.or(first).map_or(i64::MIN, |seal| seal.watermark);
    match reach {
        Some(reach) if begins <= now.saturating_sub(reach) => Ok(()),
        _ => Err(EngineError::Gap {
            pipeline: options.program.name.0.clone(),
            begins: first.map(|seal| seal.clock),
        }),
    }
}

/// How much later than rows the windows are into which they are put on their way to stages.
fn put_into_windows(flow: &Dataflow) -> impl Iterator<Item = i64> {
    let sources = flow.sources.iter().flat_map(|source| &source.outputs);
    let outputs = sources.chain(flow.stages.iter().flat_map(|stage| &stage.outputs));
    outputs.flat_map(|output| &output.chain.0).filter_map(|step| match step {
        ChainStep::Windows { reach_ns, .. } => Some(*reach_ns),
        _ => None,
    })
}
