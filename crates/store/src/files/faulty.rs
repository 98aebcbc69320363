//! Segment files in memory that fail or wait on command.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{LogFile, LogFiles, MemoryFiles};
use crate::{Lsn, view::ViewFiles};

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writes fail after half of their bytes.
    pub(crate) write: AtomicBool,
    /// Syncs fail.
    pub(crate) sync: AtomicBool,
    /// New files can't be created.
    pub(crate) create: AtomicBool,
    /// Deletions and moves of the beginning that work before all further ones fail; `None` if all do.
    pub(crate) steps: Mutex<Option<usize>>,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: bool,
}

impl Faults {
    /// Makes syncs wait until the guard is dropped, also by a test that fails.
    pub(crate) fn close_gate(&self) -> ClosedGate<'_> {
        self.gate.lock().unwrap().closed = true;
        ClosedGate(self)
    }

    /// Waits until a sync waits at the gate.
    pub(crate) fn await_sync(&self) {
        let gate = self.gate.lock().unwrap();
        drop(self.changed.wait_while(gate, |gate| !gate.waiting).unwrap());
    }

    fn take_step(&self) -> io::Result<()> {
        match &mut *self.steps.lock().unwrap() {
            Some(0) => Err(io::Error::other("the machine stopped")),
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn pass_gate(&self) {
        let mut gate = self.gate.lock().unwrap();
        if gate.closed {
            gate.waiting = true;
            self.changed.notify_all();
            gate = self.changed.wait_while(gate, |gate| gate.closed).unwrap();
            gate.waiting = false;
        }
    }
}

/// While this lives, syncs wait.
#[derive(Debug)]
pub(crate) struct ClosedGate<'a>(&'a Faults);

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        self.0.gate.lock().unwrap().closed = false;
        self.0.changed.notify_all();
    }
}

/// Files that obey [`Faults`]. Clones share both.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyFiles {
    /// The switches.
    pub(crate) faults: Arc<Faults>,
    /// The files without faults.
    pub(crate) files: MemoryFiles,
}

impl FaultyFiles {
    fn wrap(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(FaultyFile { faults: Arc::clone(&self.faults), file })
    }
}

impl LogFiles for FaultyFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        self.files.bases()
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        if self.faults.create.load(Ordering::SeqCst) {
            return Err(io::Error::other("no space"));
        }
        Ok(self.wrap(self.files.create(base)?))
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.wrap(self.files.open(base)?))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.files.sync_names()
    }

    fn path(&self, base: Lsn) -> PathBuf {
        self.files.path(base)
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        self.faults.take_step()?;
        self.files.remove(base)
    }

    fn written_at(&self, base: Lsn) -> io::Result<Option<i64>> {
        self.files.written_at(base)
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        self.files.read_start()
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        self.faults.take_step()?;
        self.files.write_start(bytes)
    }

    fn start_path(&self) -> PathBuf {
        self.files.start_path()
    }

    fn views(&self) -> Arc<dyn ViewFiles> {
        self.files.views()
    }
}

#[derive(Debug)]
struct FaultyFile {
    faults: Arc<Faults>,
    file: Arc<dyn LogFile>,
}

impl LogFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.write.load(Ordering::SeqCst) {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("no space"));
        }
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.pass_gate();
        if self.faults.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad block"));
        }
        self.file.sync()
    }
}
