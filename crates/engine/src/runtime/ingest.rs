//! The task of one source: reads ranges, has them prepared in parallel, sends them on in order.

use std::{collections::VecDeque, sync::Arc};

use postrider_core::{
    Barrier, Chunk, ChunkData, ClockTime, ErrorKind, Polled, Position, Reject, Source, Watermark,
};
use postrider_plan::BadData;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    links::{Closed, Links},
    prepare::{Prepared, Preparer},
    report::{Report, SourceReport},
};
use crate::{
    EngineError,
    chain::Moment,
    limits::{EPOCH_CHUNKS, INLINE_CHUNK_BYTES},
    watermark::{IdleClock, Progress},
};

/// What the coordinator asks of a source.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) barrier: Barrier,
    pub(crate) kind: CutKind,
}

/// How an epoch takes its input.
#[derive(Debug, Clone)]
pub(crate) enum CutKind {
    /// What is there, up to the epoch's limit.
    Live,
    /// Exactly the journaled range, with the journaled progress.
    Replay { until: Position, progress: Progress },
    /// Nothing more; the watermark jumps.
    Jump(Watermark),
    /// What is there, up to the epoch's limit, of a source that an edited program reads for the first time.
    CatchUp,
    /// Nothing.
    Hold,
}

/// Why the task ends early.
enum Stop {
    Closed,
    Failed(EngineError),
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

/// The task of one source.
pub(crate) struct Ingest {
    pub(crate) index: usize,
    pub(crate) preparer: Arc<Preparer>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) links: Links,
    pub(crate) cuts: mpsc::Receiver<Cut>,
    pub(crate) reports: mpsc::Sender<Report>,
    /// Tells the coordinator that there is input.
    pub(crate) ready: Arc<Notify>,
    /// Chunks prepared at the same time.
    pub(crate) workers: usize,
    pub(crate) position: Position,
    pub(crate) idle: IdleClock,
    pub(crate) watermark: Watermark,
    /// What it said last.
    pub(crate) progress: Progress,
    pub(crate) last_event_time: Option<i64>,
    pub(crate) ended: bool,
    /// Whether a live epoch was cut yet: the idle clock never runs across our own downtime.
    pub(crate) live: bool,
}

/// What an epoch took so far.
#[derive(Default)]
struct Taken {
    rows: u64,
    late: u64,
    rejects: Vec<Reject>,
    moved_at: Option<i64>,
    more: bool,
}

/// A chunk on its way to batches.
enum Work {
    Done(Box<Result<Prepared, EngineError>>),
    Running(AbortOnDropHandle<Result<Prepared, EngineError>>),
}

impl Ingest {
    /// Serves cuts until the coordinator is gone.
    pub(crate) async fn run(mut self) {
        match self.serve().await {
            Ok(()) | Err(Stop::Closed) => {}
            // The coordinator may be gone as well: then nobody needs to know.
            Err(Stop::Failed(error)) => drop(self.reports.send(Report::Failed(error)).await),
        }
    }

    async fn serve(&mut self) -> Result<(), Stop> {
        let start = (self.position != Position::default()).then(|| self.position.clone());
        self.source.seek(start).await.map_err(|error| self.failed(error))?;
        let mut announced = false;
        loop {
            let cut = tokio::select! {
                // In this order, not a rolled one: a run can be repeated.
                biased;
                cut = self.cuts.recv() => cut,
                () = self.source.ready(), if !announced && !self.ended => {
                    announced = true;
                    self.ready.notify_one();
                    continue;
                }
            };
            let Some(cut) = cut else { return Ok(()) };
            announced = false;
            self.epoch(cut).await?;
        }
    }

    fn failed(&self, error: postrider_core::SourceError) -> EngineError {
        EngineError::Source { table: self.preparer.node.table.name.clone(), error }
    }

    /// A sealed range can't be read again: to go on would compute something else from what is left.
    fn shortened(&self, until: &Position) -> EngineError {
        let message = format!(
            "it was read up to {until} before, but now it ends at {}; put the old content back, or start on another \
             --state-dir",
            self.position
        );
        self.failed(postrider_core::SourceError { kind: ErrorKind::Data, message })
    }

    async fn epoch(&mut self, cut: Cut) -> Result<(), Stop> {
        let start = self.position.clone();
        let clock = cut.barrier.clock;
        let (taken, progress) = match cut.kind {
            CutKind::Live => {
                if !std::mem::replace(&mut self.live, true) {
                    self.idle.restart(self.watermark, clock);
                }
                let taken = self.take(None, clock).await?;
                let progress = self.live_progress(&taken, clock);
                (taken, progress)
            }
            CutKind::Replay { until, progress } => {
                let taken = self.take(Some(&until), clock).await?;
                if self.position != until {
                    return Err(self.shortened(&until).into());
                }
                self.watermark = progress.watermark();
                self.idle.restart(self.watermark, clock);
                (taken, progress)
            }
            CutKind::Jump(watermark) => {
                self.watermark = self.watermark.max(watermark);
                (Taken::default(), Progress::Active(self.watermark))
            }
            CutKind::CatchUp => {
                let taken = self.take(None, clock).await?;
                // Only a table without event times, which holds up others until it has ended, says here that it has.
                let timeless = self.preparer.node.event_time.is_none();
                let progress = if self.ended && timeless {
                    Progress::Finished(self.watermark)
                } else {
                    Progress::Active(self.watermark)
                };
                (taken, progress)
            }
            CutKind::Hold => (Taken::default(), self.progress),
        };
        self.progress = progress;
        self.links.end_epoch(progress, cut.barrier).await?;
        let report = SourceReport {
            source: self.index,
            epoch: cut.barrier.epoch,
            start,
            end: self.position.clone(),
            rows: taken.rows,
            late: taken.late,
            rejects: taken.rejects,
            progress,
            idle: self.idle,
            last_event_time: self.last_event_time,
            moved_at: taken.moved_at,
            more: taken.more,
            ended: self.ended,
        };
        self.reports.send(Report::Source(report)).await.map_err(|_| Stop::Closed)
    }

    fn live_progress(&mut self, taken: &Taken, clock: ClockTime) -> Progress {
        if taken.rows > 0 || taken.more {
            self.idle.restart(self.watermark, clock);
        }
        if self.ended {
            return Progress::Finished(self.watermark);
        }
        let progress = self.idle.progress(clock);
        self.watermark = self.watermark.max(progress.watermark());
        progress
    }

    /// Takes chunks up to `until`, or to the epoch's limit, and sends their rows on.
    async fn take(&mut self, until: Option<&Position>, clock: ClockTime) -> Result<Taken, Stop> {
        // Late is what is behind the watermark that the epoch began with: it moves at barriers only.
        let moment = Moment { clock, watermark: self.watermark };
        let mut taken = Taken::default();
        let mut working: VecDeque<Work> = VecDeque::new();
        let mut chunks = 0;
        let mut open = !self.ended && until.is_none_or(|until| self.position < *until);
        loop {
            while open && working.len() <= self.workers {
                if until.is_none() && chunks == EPOCH_CHUNKS {
                    taken.more = true;
                    open = false;
                    break;
                }
                match self.source.poll(until).await.map_err(|error| self.failed(error))? {
                    Polled::Chunk(chunk) => {
                        chunks += 1;
                        self.position = chunk.end.clone();
                        open = until.is_none_or(|until| self.position < *until);
                        working.push_back(self.start(chunk, moment));
                    }
                    Polled::Empty => {
                        self.look_ahead(until);
                        open = false;
                    }
                    Polled::Ended => {
                        self.ended = until.is_none();
                        open = false;
                    }
                }
            }
            let Some(work) = working.pop_front() else { break };
            let prepared = finish(work, &self.preparer.pipeline).await?;
            self.account(&prepared, &mut taken);
            self.check_rejects(&prepared)?;
            taken.rejects.extend(prepared.rejects);
            self.links.send(prepared.routed, clock).await?;
        }
        Ok(taken)
    }

    /// Moves behind what the source has looked at in vain, so that nobody keeps it for this pipeline.
    fn look_ahead(&mut self, until: Option<&Position>) {
        if let Some(looked) = self.source.looked_up_to() {
            let looked = match until {
                Some(until) => looked.min(until.clone()),
                None => looked,
            };
            self.position = looked.max(std::mem::take(&mut self.position));
        }
    }

    fn start(&self, chunk: Chunk, moment: Moment) -> Work {
        let small = match &chunk.data {
            ChunkData::Lines(bytes) => bytes.len() < INLINE_CHUNK_BYTES,
            ChunkData::Records(records) => {
                records.iter().map(|record| record.body.len()).sum::<usize>() < INLINE_CHUNK_BYTES
            }
            ChunkData::Rows(_) | ChunkData::Numbers => false,
        };
        if small {
            return Work::Done(Box::new(self.preparer.prepare(&chunk, moment)));
        }
        let preparer = Arc::clone(&self.preparer);
        let task = tokio::spawn(async move { preparer.prepare(&chunk, moment) });
        Work::Running(AbortOnDropHandle::new(task))
    }

    fn account(&mut self, prepared: &Prepared, taken: &mut Taken) {
        taken.rows += prepared.rows;
        taken.late += prepared.late;
        self.last_event_time = self.last_event_time.max(prepared.last_event_time);
        if let Some((promised, received_at)) = prepared.watermark
            && Watermark(promised) > self.watermark
        {
            self.watermark = Watermark(promised);
            taken.moved_at = received_at;
        }
    }

    fn check_rejects(&self, prepared: &Prepared) -> Result<(), EngineError> {
        let table = &self.preparer.node.table;
        match prepared.rejects.first() {
            Some(reject) if table.common.bad_data == BadData::Fail => Err(EngineError::BadData {
                table: table.name.clone(),
                position: reject.position.to_string(),
                reason: reject.reason,
                message: reject.message.clone(),
            }),
            _ => Ok(()),
        }
    }
}

async fn finish(work: Work, pipeline: &str) -> Result<Prepared, EngineError> {
    match work {
        Work::Done(result) => *result,
        Work::Running(task) => task.await.unwrap_or_else(|error| {
            Err(EngineError::Bug { pipeline: pipeline.to_owned(), message: error.to_string() })
        }),
    }
}
