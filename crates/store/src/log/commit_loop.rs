//! The writer thread: takes batches from the queue, a group at a time.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{Appended, NewFrame, files::DirectoryLock, writer::Writer};

/// What handles ask of the writer thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Append these frames, then report.
    Append(Batch),
    /// Stop, after everything before.
    Close,
}

/// Frames that stay together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<NewFrame>,
    /// Told when they are durable; dropped when they never will be.
    pub(super) done: oneshot::Sender<Appended>,
    /// Their share of the queue's memory, given back when this is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

/// Runs until the log is closed, dropped or dead.
///
/// Group commit: while one group is synced, the next one gathers in the queue.
pub(super) fn run(
    mut writer: Writer,
    mut queue: mpsc::Receiver<Command>,
    lock: Option<DirectoryLock>,
) {
    let mut waiting = Vec::new();
    let mut open = true;
    while open && let Some(command) = queue.blocking_recv() {
        let mut next = Some(command);
        while let Some(command) = next {
            match command {
                Command::Append(batch) => {
                    waiting.push((writer.add(&batch.frames), batch.done, batch.room));
                }
                Command::Close => open = false,
            }
            next = if open && !writer.is_full() { queue.try_recv().ok() } else { None };
        }
        if writer.commit().is_err() {
            break;
        }
        for (appended, done, _room) in waiting.drain(..) {
            // Nobody may be waiting for this ticket any more.
            done.send(appended).ok();
        }
    }
    queue.close();
    // The lock goes before the announcement ends, by which `Log::close` knows that the log is free.
    drop(lock);
    drop(writer);
}
