//! Dying at a numbered place, for tests: `POSTRIDER_FAILPOINT=137`, or `POSTRIDER_FAILPOINT=seal_durable:2`.

use postrider_store::{
    Failpoint,
    failpoint::{self, Plan},
};
use rustix::process::{Signal, getpid, kill_process};

use crate::{
    console,
    outcome::{Failure, Outcome},
};

/// The variable that names the place; see [`Plan::parse`].
const VARIABLE: &str = "POSTRIDER_FAILPOINT";

/// Arms this process if it was asked for.
pub(crate) fn arm() -> Outcome {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let plan = Plan::parse(&text.to_string_lossy())
        .map_err(|reason| Failure::invalid(format!("{VARIABLE}: {reason}")))?;
    failpoint::arm(plan, die);
    Ok(())
}

/// Dies as of a power cut: nothing is unwound, flushed or given up.
fn die(at: Failpoint) {
    console::note(&format!("failpoint {}", at.name()));
    // The signal can't fail to be sent to oneself; should it, the end is as sudden.
    kill_process(getpid(), Signal::KILL).ok();
    std::process::abort();
}
