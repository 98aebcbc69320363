//! Segment files in memory that fail or wait on command.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Fill, LogFile, LogFiles, MemoryFiles};
use crate::{Lsn, view::ViewFiles};

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writes fail after half of their bytes.
    pub(crate) write: AtomicBool,
    /// Syncs fail.
    pub(crate) sync: AtomicBool,
    /// Syncs find the disk full, after writes that did not.
    pub(crate) sync_full: AtomicBool,
    /// New files can't be created.
    pub(crate) create: AtomicBool,
    /// Deletions and moves of the beginning that work before all further ones fail; `None` if all do.
    pub(crate) steps: Mutex<Option<usize>>,
    /// Room can't be taken ahead, so only writes find the disk full.
    pub(crate) no_reserve: AtomicBool,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    /// Syncs wait.
    closed: bool,
    /// Operations that may still be made before one waits.
    operations: Option<u64>,
    waiting: bool,
    done: bool,
    /// Bytes that may still be written to new places.
    room: Option<u64>,
    /// How often there was none, or more.
    full: u64,
}

impl Faults {
    /// Makes syncs wait until the guard is dropped, also by a test that fails.
    pub(crate) fn close_gate(&self) -> ClosedGate<'_> {
        self.gate.lock().unwrap().closed = true;
        ClosedGate(self)
    }

    /// Makes the operation behind this many wait, as if the process were stopped there, until the guard is dropped.
    pub(crate) fn stop_after(&self, operations: u64) -> ClosedGate<'_> {
        let mut gate = self.gate.lock().unwrap();
        (gate.operations, gate.done) = (Some(operations), false);
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

    /// Waits until an operation waits, and returns whether one does: `false` if all were [`Faults::done`] before.
    pub(crate) fn is_stopped(&self) -> bool {
        let gate = self.gate.lock().unwrap();
        self.changed.wait_while(gate, |gate| !gate.waiting && !gate.done).unwrap().waiting
    }

    /// No more operations will come.
    pub(crate) fn done(&self) {
        self.gate.lock().unwrap().done = true;
        self.changed.notify_all();
    }

    /// Leaves this many bytes on the disk; `None` for any number.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.gate.lock().unwrap().room = room;
    }

    /// Waits until the disk was found full again; `before` and the result are counts.
    pub(crate) fn await_full(&self, before: u64) -> u64 {
        let gate = self.gate.lock().unwrap();
        self.changed.wait_while(gate, |gate| gate.full <= before).unwrap().full
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

    fn step(&self) {
        let mut gate = self.gate.lock().unwrap();
        match gate.operations {
            None => {}
            Some(0) => {
                gate.waiting = true;
                self.changed.notify_all();
                gate = self.changed.wait_while(gate, |gate| gate.operations.is_some()).unwrap();
                gate.waiting = false;
            }
            Some(operations) => gate.operations = Some(operations - 1),
        }
    }

    /// How many of these new bytes there is room for.
    fn take_room(&self, wanted: u64) -> Result<(), u64> {
        let mut gate = self.gate.lock().unwrap();
        let Some(room) = gate.room else { return Ok(()) };
        if wanted <= room {
            gate.room = Some(room - wanted);
            return Ok(());
        }
        gate.full += 1;
        self.changed.notify_all();
        Err(room)
    }

    /// Counts what happens on a full disk only.
    fn note_full(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.full += u64::from(gate.room.is_some());
        self.changed.notify_all();
    }

    fn has_room(&self, wanted: u64) -> bool {
        self.gate.lock().unwrap().room.is_none_or(|room| wanted <= room)
    }
}

/// While this lives, operations wait.
#[derive(Debug)]
pub(crate) struct ClosedGate<'a>(&'a Faults);

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        let mut gate = self.0.gate.lock().unwrap();
        (gate.closed, gate.operations) = (false, None);
        self.0.changed.notify_all();
    }
}

fn disk_full() -> io::Error {
    io::ErrorKind::StorageFull.into()
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
        self.faults.step();
        if self.faults.create.load(Ordering::SeqCst) {
            return Err(io::Error::other("no space"));
        }
        Ok(self.wrap(self.files.create(base)?))
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        self.faults.step();
        if self.faults.create.load(Ordering::SeqCst) {
            return Err(io::Error::other("no space"));
        }
        Ok(self.wrap(self.files.replace(base, &mut |file| fill(&self.wrap(Arc::clone(file))))?))
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.wrap(self.files.open(base)?))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.faults.step();
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
        self.faults.step();
        if self.faults.write.load(Ordering::SeqCst) {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("no space"));
        }
        let new = (offset + bytes.len() as u64).saturating_sub(self.file.size()?);
        if let Err(room) = self.faults.take_room(new) {
            // As Linux does: what fits is written.
            let fits = bytes.len() - usize::try_from(new - room).unwrap_or(bytes.len());
            self.file.write_all_at(&bytes[..fits], offset)?;
            return Err(disk_full());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.faults.step();
        self.file.truncate(size)?;
        self.faults.note_full();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.step();
        self.faults.pass_gate();
        if self.faults.sync_full.load(Ordering::SeqCst) {
            return Err(disk_full());
        }
        if self.faults.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad block"));
        }
        self.file.sync()
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let new = (offset + bytes).saturating_sub(self.file.size()?);
        if self.faults.no_reserve.load(Ordering::SeqCst) || self.faults.has_room(new) {
            return Ok(());
        }
        self.faults.note_full();
        Err(disk_full())
    }
}
