//! The sign of life in the lock file.

use std::{
    io,
    os::unix::fs::FileExt,
    process,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Fence, fence::Fenced};
use crate::limits::LEASE_BEATS;

/// What a lock file says. Its size never changes, so that beats need no room on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    lease: Duration,
    number: u64,
}

impl Beat {
    pub(super) const fn new(lease: Duration) -> Self {
        Self { lease, number: 0 }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let (process, lease) = (process::id(), self.lease.as_millis());
        format!("process {process}\nlease {lease} ms\nbeat {:020}\n", self.number).into_bytes()
    }

    fn every(&self) -> Duration {
        self.lease / LEASE_BEATS
    }
}

/// The lease that a lock file names; `None` if its maker has no heartbeat.
pub(super) fn lease_in(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let lease = text.lines().find_map(|line| line.strip_prefix("lease ")?.strip_suffix(" ms"))?;
    lease.parse().ok().map(Duration::from_millis)
}

/// The thread that beats. It depends on nothing but its process: neither on a runtime nor on the log.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// Gone only while dropping.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub(super) fn start(fence: Arc<Fence>, beat: Beat) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("log-lease".to_owned())
            .spawn(move || run(&fence, beat, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its own hook.
            drop(thread.join());
        }
    }
}

fn run(fence: &Fence, mut beat: Beat, stop: &Receiver<()>) {
    let mut failing = false;
    while stop.recv_timeout(beat.every()) == Err(RecvTimeoutError::Timeout) {
        if let Err(Fenced::By { .. }) = fence.check() {
            // Nobody may append for hours: this is how an idle zombie learns that it is one.
            fence.lost();
        }
        beat.number += 1;
        let written = fence.file().write_all_at(&beat.text(), 0);
        if let Err(error) = &written
            && !failing
        {
            tracing::warn!(
                %error,
                "the lease of the log can't be renewed; another process that is started on the same state takes over"
            );
        }
        failing = written.is_err();
    }
}
