//! Segment files in a directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(target_os = "linux")]
use super::is_disk_full;
use super::{Fill, LogFile, LogFiles};
use crate::{
    LogError, Lsn,
    segment::{base_of, file_name},
    view::{DiskViews, ViewFiles},
};

/// A directory of segment files.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    dir: PathBuf,
}

impl DiskFiles {
    /// The files of an existing directory.
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
}

impl LogFiles for DiskFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            bases.extend(entry?.file_name().to_str().and_then(base_of));
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(self.path(base))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        let path = self.path(base);
        let new = path.with_extension("log.new");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&new)?;
        let file: Arc<dyn LogFile> = Arc::new(DiskFile(file));
        fill(&file)?;
        file.sync()?;
        fs::rename(new, path)?;
        Ok(file)
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(base))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, base: Lsn) -> PathBuf {
        self.dir.join(file_name(base))
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        match fs::remove_file(self.path(base)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn written_at(&self, base: Lsn) -> io::Result<Option<i64>> {
        let written = fs::metadata(self.path(base))?.modified()?;
        let age = written.duration_since(std::time::UNIX_EPOCH).ok();
        Ok(age.and_then(|age| i64::try_from(age.as_nanos()).ok()))
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.start_path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join("START.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.start_path())?;
        self.sync_names()
    }

    fn start_path(&self) -> PathBuf {
        self.dir.join("START")
    }

    fn views(&self) -> Arc<dyn ViewFiles> {
        Arc::new(DiskViews::new(self.dir.join("views")))
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl LogFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, offset, bytes).map_err(io::Error::from)
        {
            Err(error) if is_disk_full(&error) => Err(error),
            // A file system that can't reserve finds out when it is written to.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Creates a directory, if it is missing, so that it survives a crash.
pub(crate) fn create_dir(dir: &Path) -> Result<(), LogError> {
    create_dir_with(dir, |parent| File::open(parent)?.sync_all())
}

/// `sync` makes the names in a directory durable.
fn create_dir_with(
    dir: &Path,
    mut sync: impl FnMut(&Path) -> io::Result<()>,
) -> Result<(), LogError> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let created: Vec<_> = dir.ancestors().take_while(missing).collect();
    fs::create_dir_all(dir).map_err(at("create", dir))?;
    if created.is_empty() {
        // Whoever created it may have died before the sync.
        let path = dir.canonicalize().map_err(at("resolve", dir))?;
        let Some(parent) = path.parent() else { return Ok(()) };
        return match sync(parent) {
            // Then it was created by somebody else, who answers for it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced.map_err(at("sync", parent)),
        };
    }
    for created in created.into_iter().rev() {
        let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        sync(parent).map_err(at("sync", parent))?;
    }
    Ok(())
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Files { operation, path, source }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::create_dir_with;

    #[test]
    fn every_name_on_the_way_to_a_new_directory_is_synced() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("a/b/c");
        let synced = || {
            let mut synced = Vec::new();
            create_dir_with(&dir, |parent| {
                assert!(dir.is_dir());
                synced.push(parent.to_owned());
                Ok(())
            })
            .unwrap();
            synced
        };
        assert_eq!(synced(), [root.clone(), root.join("a"), root.join("a/b")]);
        assert_eq!(synced(), [root.join("a/b")], "the first process may have died before its sync");
        fs::remove_dir(&dir).unwrap();
        assert_eq!(synced(), [root.join("a/b")]);
    }

    #[test]
    fn a_parent_that_only_its_owner_may_open_is_left_to_the_owner() {
        let root = tempfile::tempdir().unwrap();
        let denied = |_: &_| Err(io::ErrorKind::PermissionDenied.into());
        create_dir_with(root.path(), denied).unwrap();
        let error = create_dir_with(&root.path().join("new"), denied).unwrap_err();
        assert!(error.to_string().starts_with("can't sync"), "{error}");
        let failed = |_: &_| Err(io::Error::other("bad block"));
        let error = create_dir_with(root.path(), failed).unwrap_err();
        assert!(error.to_string().contains("bad block"), "{error}");
    }
}
