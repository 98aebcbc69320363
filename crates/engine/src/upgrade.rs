//! What becomes of the state of a pipeline whose SQL was edited: decided before anything happens.
//!
//! An operator keeps its state if it computes the same from the same: its identity is in the checkpoint. Any other is rebuilt by
//! reading again what the log still knows of the input, in the shadow: nothing of that is written or fired, because it was
//! decided when it happened. Windows that are still open then go on with what they would hold.

use std::collections::BTreeSet;

use postrider_core::Diagnostics;
use postrider_plan::Program;
use postrider_store::Manifest;

use crate::{
    dataflow::{Dataflow, StageNode},
    identity::fingerprint,
    planner::plan_dataflow,
};

/// What becomes of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPlan {
    /// What it is, such as `sessions with a gap of 1 hour`.
    pub name: String,
    /// Its key columns.
    pub keys: Vec<String>,
    /// Its fate.
    pub fate: Fate,
}

/// Keep or rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its state is in the checkpoint.
    Keep {
        /// Rows of state.
        rows: u64,
    },
    /// Its state is computed anew from the log.
    Rebuild,
}

/// A part of the state that nobody has any use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenState {
    /// What kept it.
    pub name: String,
    /// Rows of state.
    pub rows: u64,
}

/// What happens to a pipeline whose SQL was edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradePlan {
    /// The checkpoint that it goes on from; `None` if there is none.
    pub manifest: Option<u64>,
    /// Its epoch.
    pub epoch: u64,
    /// When it was written (wall clock, nanoseconds since 1970).
    pub created_at: i64,
    /// Whether the program computes what the checkpoint's computed.
    pub same: bool,
    /// Every operator of the program.
    pub operators: Vec<OperatorPlan>,
    /// What the program no longer has.
    pub forgotten: Vec<ForgottenState>,
}

impl UpgradePlan {
    /// Plans how a program goes on from a checkpoint.
    ///
    /// # Errors
    /// The program can't run as it is written.
    pub fn new(program: &Program, manifest: Option<&Manifest>) -> Result<Self, Diagnostics> {
        Ok(Self::of(program, &plan_dataflow(program)?, manifest))
    }

    pub(crate) fn of(program: &Program, flow: &Dataflow, manifest: Option<&Manifest>) -> Self {
        let checkpoint = manifest.map(|manifest| &manifest.checkpoint);
        let known = checkpoint.map_or(&[][..], |checkpoint| &checkpoint.operators);
        let rows = |operator: &postrider_store::OperatorState| {
            operator.parts.iter().map(|part| part.rows).sum()
        };
        let fate = |stage: &StageNode| {
            let kept = known.iter().find(|operator| operator.identity == stage.identity);
            kept.map_or(Fate::Rebuild, |operator| Fate::Keep { rows: rows(operator) })
        };
        let operator = |stage: &StageNode| OperatorPlan {
            name: stage.words.what.clone(),
            keys: stage.words.keys.clone(),
            fate: fate(stage),
        };
        let used: BTreeSet<&str> = flow.stages.iter().map(|s| s.identity.as_str()).collect();
        let forgotten = known.iter().filter(|operator| !used.contains(operator.identity.as_str()));
        let forgotten = forgotten
            .map(|operator| ForgottenState { name: operator.name.clone(), rows: rows(operator) });
        let same = checkpoint.map(|checkpoint| checkpoint.fingerprint.as_str());
        Self {
            manifest: manifest.map(|manifest| manifest.id),
            epoch: checkpoint.map_or(0, |checkpoint| checkpoint.epoch),
            created_at: manifest.map_or(0, |manifest| manifest.created_at),
            same: same == Some(hex(&fingerprint(program)).as_str()),
            operators: flow.stages.iter().map(operator).collect(),
            forgotten: forgotten.collect(),
        }
    }

    /// Whether every operator keeps its state.
    pub fn keeps_all(&self) -> bool {
        self.operators.iter().all(|operator| matches!(operator.fate, Fate::Keep { .. }))
    }
}

/// A fingerprint as manifests have it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
