//! Rows that were released and wait for a decision, and the jobs they become.

use std::{collections::VecDeque, sync::Arc};

use postrider_core::{SendId, SendIdentity, SubjectId, WorkspaceId};
use postrider_store::{RowRef, SealedTriggers};

use super::attempt::History;
use crate::{
    EmailSink, MailError,
    row::{TriggerRow, TriggerRows},
};

/// The decoded rows of one sealed batch, and whose they are.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) workspace: WorkspaceId,
    pub(super) sink: Arc<EmailSink>,
    pub(super) moved_at: i64,
    /// How often the pipeline was told to fire again.
    pub(super) fire_series: u32,
    pub(super) read_at: i64,
    /// The clock of the epoch.
    clock: i64,
    pipeline: String,
    table: String,
    epoch: u64,
    first_row: u32,
    rows: TriggerRows,
}

impl Release {
    /// Decodes sealed rows.
    pub(super) fn decode(
        triggers: &SealedTriggers,
        sink: Arc<EmailSink>,
        read_at: i64,
    ) -> Result<Self, MailError> {
        let damaged = |message: String| MailError::Data {
            what: "the trigger rows",
            place: format!("{}.{} in epoch {}", triggers.pipeline, triggers.sink, triggers.epoch),
            message,
        };
        let rows =
            TriggerRows::decode(&triggers.rows).map_err(|error| damaged(error.to_string()))?;
        if rows.len() != triggers.count as usize {
            return Err(damaged(format!("{} rows instead of {}", rows.len(), triggers.count)));
        }
        Ok(Self {
            workspace: triggers.workspace,
            sink,
            moved_at: triggers.moved_at,
            fire_series: triggers.fire_series,
            read_at,
            clock: triggers.clock,
            pipeline: triggers.pipeline.clone(),
            table: triggers.sink.clone(),
            epoch: triggers.epoch.0,
            first_row: triggers.first_row,
            rows,
        })
    }
}

/// One attempt to be made: a row and the number of the attempt.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) release: Arc<Release>,
    /// The row within the release.
    pub(super) index: usize,
    pub(super) attempt: u32,
    /// An earlier attempt may have delivered it.
    pub(super) doubtful: bool,
}

impl Job {
    /// What a verdict about its next outcome depends on.
    pub(super) fn history(&self) -> History {
        History { attempt: self.attempt, doubtful: self.doubtful, class: self.sink().class }
    }

    pub(super) fn row(&self) -> TriggerRow<'_> {
        self.release.rows.row(self.index)
    }

    pub(super) fn variables(&self) -> minijinja::Value {
        self.release.rows.variables(self.index)
    }

    pub(super) fn sink(&self) -> &EmailSink {
        &self.release.sink
    }

    /// When the row fired: its own time, or else that of its epoch.
    pub(super) fn fired_at(&self) -> i64 {
        self.row().fire_ts.unwrap_or(self.release.clock)
    }

    pub(super) fn send_id(&self) -> SendId {
        let row = self.row();
        SendId::of(&SendIdentity {
            workspace: self.release.workspace,
            trigger: &self.release.sink.trigger,
            fire_series: self.release.fire_series,
            recipient_key: row.recipient_key,
            dedupe_key: row.dedupe_key,
            step: 0,
        })
    }

    pub(super) fn subject(&self) -> SubjectId {
        SubjectId::of(self.release.workspace, self.row().recipient_key)
    }

    pub(super) fn row_ref(&self) -> RowRef {
        let row = self.row();
        RowRef {
            pipeline: self.release.pipeline.clone(),
            sink: self.release.table.clone(),
            epoch: self.release.epoch,
            // A batch has at most `count: u32` rows, so the sum is the row's number as the log counts.
            row: self.release.first_row + u32::try_from(self.index).unwrap_or(u32::MAX),
            recipient_key: row.recipient_key.to_owned(),
            dedupe_key: row.dedupe_key.to_owned(),
        }
    }
}

/// Rows in the order in which they were sealed.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: VecDeque<(Arc<Release>, std::vec::IntoIter<usize>)>,
    rows: usize,
}

impl Backlog {
    /// Adds all rows of a release.
    pub(super) fn push_all(&mut self, release: Release) {
        let rows = (0..release.rows.len()).collect();
        self.push(Arc::new(release), rows);
    }

    /// Adds some rows of a release, by their numbers in the log.
    pub(super) fn push_numbers(&mut self, release: Release, numbers: &[u32]) {
        let first = release.first_row;
        let rows = numbers.iter().map(|row| row.saturating_sub(first) as usize).collect();
        self.push(Arc::new(release), rows);
    }

    fn push(&mut self, release: Arc<Release>, rows: Vec<usize>) {
        self.rows += rows.len();
        if !rows.is_empty() {
            self.queue.push_back((release, rows.into_iter()));
        }
    }

    /// Takes the next row as a first attempt.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let (release, rows) = self.queue.front_mut()?;
        let index = rows.next()?;
        let job = Job { release: Arc::clone(release), index, attempt: 1, doubtful: false };
        if rows.len() == 0 {
            self.queue.pop_front();
        }
        self.rows -= 1;
        Some(job)
    }

    pub(super) const fn len(&self) -> usize {
        self.rows
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }
}
