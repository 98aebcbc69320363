//! Telling whether the holder of a log is gone, stopped or alive.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, time::Duration};

use super::{LOCK, at, heartbeat::lease_in, holder_in, try_flock};
use crate::{LogError, limits::LEASE_LOOKS};

/// Who had the log.
#[derive(Debug)]
pub(super) enum Before {
    /// No process yet.
    Nobody,
    /// One that ended. Its lock is held, so that nobody takes it for free before it is replaced.
    Ended(#[expect(dead_code, reason = "held, not read")] File),
    /// One that lives and did not beat for a whole lease.
    Stopped(String),
}

/// More than any lock file holds.
const TEXT_BYTES: usize = 256;

/// Watches the holder, if there is one, for as long as its lease says.
pub(super) fn holder_is_gone(
    dir: &Path,
    mut wait: impl FnMut(Duration),
) -> Result<Before, LogError> {
    let path = dir.join(LOCK);
    let file = match File::options().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Before::Nobody),
        Err(error) => return Err(at("open", &path)(error)),
    };
    if try_flock(&file).map_err(at("lock", &path))? {
        return Ok(Before::Ended(file));
    }
    let first = text(&file).map_err(at("read", &path))?;
    let refused = || LogError::Locked { dir: dir.to_owned(), holder: holder_in(&first) };
    // The lease is the holder's own. One that names none does not look at its fence either.
    let Some(lease) = lease_in(&first) else { return Err(refused()) };
    let look = lease / LEASE_LOOKS;
    for number in 0..LEASE_LOOKS {
        if number == LEASE_LOOKS / 2 {
            tracing::warn!(
                holder = holder_in(&first),
                "the process that has the log gives no sign of life; if that stays so, this one takes over in {:?}",
                lease / 2
            );
        }
        wait(look);
        if try_flock(&file).map_err(at("lock", &path))? {
            return Ok(Before::Ended(file));
        }
        if text(&file).map_err(at("read", &path))? != first {
            return Err(refused());
        }
    }
    Ok(Before::Stopped(holder_in(&first)))
}

fn text(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; TEXT_BYTES];
    let filled = file.read_at(&mut buffer, 0)?;
    buffer.truncate(filled);
    Ok(buffer)
}
