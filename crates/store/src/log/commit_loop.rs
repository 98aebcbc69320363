//! The writer thread: takes batches from the queue, a group at a time.
//!
//! Group commit: while one group is synced, the next one gathers in the queue. What is done next is decided by `Commits`, which
//! waits for nothing; the thread of [`run`] and the task of [`simulate`] wait for it.
//!
//! On a full disk, batches that may be refused are, and the others are *held*: they go first once there is room. Meanwhile the
//! queue is emptied again and again, so that nobody who may be refused waits behind a batch that is held.

use std::{collections::VecDeque, path::Path, thread, time::Duration};

use postrider_core::ClockTime;
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::SimulatedWriter;
use crate::{
    Appended, LogError, NewFrame,
    lock::DirectoryLock,
    writer::{NotDurable, Writer},
};

/// What handles ask of the writer thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Append these frames, then report.
    Append(Batch),
    /// Look whether this process still has the log.
    CheckFence,
    /// Stop, after everything before.
    Close,
}

/// Frames that stay together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<NewFrame>,
    pub(super) when_full: WhenFull,
    /// Told when they are durable or refused; dropped when they never will be.
    pub(super) done: oneshot::Sender<Result<Appended, LogError>>,
    /// Their share of the queue's memory, given back when this is dropped.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What becomes of a batch that the disk has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It waits.
    Wait,
    /// Its sender is told, and may come back.
    Refuse,
}

/// Runs until the log is closed, dropped, dead or taken over. On a full disk, it tries again after `pause`.
pub(super) fn run(
    writer: Writer,
    queue: mpsc::Receiver<Command>,
    lock: Option<DirectoryLock>,
    pause: Duration,
) {
    let mut commits = Commits::new(writer, queue);
    loop {
        match commits.turn() {
            Turn::Receive => {
                let next = commits.queue.blocking_recv();
                commits.take(next);
            }
            Turn::Commit => {
                if commits.commit() == Committed::NoRoom {
                    thread::sleep(pause);
                }
            }
            Turn::End => break,
        }
    }
    commits.finish(lock);
}

/// The same on a simulated clock.
pub(super) async fn simulate(
    writer: Writer,
    queue: mpsc::Receiver<Command>,
    mut simulated: SimulatedWriter,
    pause: Duration,
) {
    let mut commits = Commits::new(writer, queue);
    let clock = simulated.clock;
    let wait = |ns: i64| clock.sleep_until(ClockTime(clock.now().0.saturating_add(ns)));
    let pause = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
    loop {
        match commits.turn() {
            Turn::Receive => {
                let next = commits.queue.recv().await;
                commits.take(next);
            }
            Turn::Commit => {
                wait((simulated.takes_ns)()).await;
                if commits.commit() == Committed::NoRoom {
                    wait(pause).await;
                }
            }
            Turn::End => break,
        }
    }
    commits.finish(None);
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Wait for a command.
    Receive,
    /// Write the group.
    Commit,
    /// Nothing any more.
    End,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    /// There is something else to do at once.
    Done,
    /// What is held waits for room.
    NoRoom,
}

struct Commits {
    writer: Writer,
    queue: mpsc::Receiver<Command>,
    /// What the writer has, and where it will be.
    group: Vec<(Appended, Batch)>,
    /// What waits for room on the disk.
    held: VecDeque<Batch>,
    /// More may come.
    open: bool,
    /// Nothing can be written any more.
    ended: bool,
    full: bool,
}

impl Commits {
    fn new(writer: Writer, queue: mpsc::Receiver<Command>) -> Self {
        let (group, held) = (Vec::new(), VecDeque::new());
        Self { writer, queue, group, held, open: true, ended: false, full: false }
    }

    fn finish(mut self, lock: Option<DirectoryLock>) {
        self.queue.close();
        self.writer.finish();
        // The lock goes before the announcement ends, by which `Log::close` knows that the log is free.
        drop(lock);
    }

    /// Puts a group together of what is held, and says what comes next.
    fn turn(&mut self) -> Turn {
        // What is held goes alone: it may fit where it would not with more.
        while !self.ended
            && !self.writer.is_full()
            && let Some(batch) = self.held.pop_front()
        {
            self.add(batch);
        }
        match (self.ended, self.group.is_empty(), self.open) {
            (false, false, _) => Turn::Commit,
            (false, true, true) => Turn::Receive,
            _ => Turn::End,
        }
    }

    /// Puts a group together of a command and those that wait behind it; `None` is the end of them.
    fn take(&mut self, mut next: Option<Command>) {
        self.open = next.is_some();
        while let Some(command) = next {
            match command {
                Command::Append(batch) => self.add(batch),
                Command::CheckFence if self.writer.shared().check_fence().is_err() => {
                    self.ended = true;
                }
                Command::CheckFence => {}
                Command::Close => self.open = false,
            }
            let more = self.open && !self.ended && !self.writer.is_full();
            next = if more { self.queue.try_recv().ok() } else { None };
        }
    }

    fn commit(&mut self) -> Committed {
        match self.writer.commit() {
            Ok(()) => self.report(),
            Err(NotDurable::DiskFull(path)) if self.open => return self.hold(&path),
            // Who closes a log does not wait for somebody to free the disk.
            Err(NotDurable::DiskFull(_) | NotDurable::Ended) => self.ended = true,
        }
        Committed::Done
    }

    fn add(&mut self, batch: Batch) {
        self.group.push((self.writer.add(&batch.frames), batch));
    }

    fn report(&mut self) {
        let stored = self.group.iter().any(|(_, batch)| !batch.frames.is_empty());
        if stored && std::mem::take(&mut self.full) {
            tracing::warn!("there is room on the disk again, and the log goes on");
        }
        for (appended, batch) in self.group.drain(..) {
            // Nobody may be waiting for this ticket any more.
            batch.done.send(Ok(appended)).ok();
        }
    }

    /// Refuses what may be refused, and keeps the rest; some time has to pass if there is any.
    fn hold(&mut self, path: &Path) -> Committed {
        if !std::mem::replace(&mut self.full, true) {
            let path = path.display();
            tracing::warn!(
                %path,
                "the disk is full: new events are refused, epochs and sends wait; free some room, and the log goes on by itself"
            );
        }
        let mut held = VecDeque::new();
        for (_, batch) in self.group.drain(..) {
            refuse_or_hold(batch, path, &mut held);
        }
        held.append(&mut self.held);
        self.held = held;
        loop {
            match self.queue.try_recv() {
                Ok(Command::Append(batch)) => refuse_or_hold(batch, path, &mut self.held),
                // The next commit looks.
                Ok(Command::CheckFence) => {}
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => break self.open = false,
                Err(TryRecvError::Empty) => break,
            }
        }
        if self.held.is_empty() { Committed::Done } else { Committed::NoRoom }
    }
}

fn refuse_or_hold(batch: Batch, path: &Path, held: &mut VecDeque<Batch>) {
    match batch.when_full {
        WhenFull::Wait => held.push_back(batch),
        WhenFull::Refuse => {
            batch.done.send(Err(LogError::DiskFull { path: path.to_owned() })).ok();
        }
    }
}
