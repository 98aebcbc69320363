//! A log with a flipped bit: named, priced, cut.

use std::{ffi::OsStr, fs, path::Path};

use crate::process::{Finished, postrider, run, run_pipeline, write};

/// Rows that are kept in a state directory.
const NUMBERS: &str = "
CREATE TABLE numbers (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 100);
CREATE TABLE hole WITH (connector = 'blackhole');
INSERT INTO hole SELECT n FROM numbers;
";

fn log(command: &str, dir: &Path, more: &[&str]) -> Finished {
    let args = [OsStr::new("log"), OsStr::new(command), dir.as_os_str()];
    run(postrider(args.into_iter().chain(more.iter().map(OsStr::new))))
}

#[test]
fn damage_is_named_and_only_given_up_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "numbers.sql", NUMBERS);
    let state = dir.path().join("state");
    run(run_pipeline(&file, &state)).ok();
    let intact = log("verify", &state, &[]).ok();
    assert!(intact.starts_with("00000000000000000000.log  "), "{intact}");
    assert!(intact.contains("generation 1: 1 start, "), "{intact}");
    let nothing = log("repair", &state, &["--drop-damaged"]);
    assert!(nothing.err.contains("the log is intact"), "{}", nothing.err);
    nothing.ok();

    let segment = state.join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let err = log("verify", &state, &[]).fails_with(1);
    assert!(err.contains(&format!("damaged at byte 32 of {}", segment.display())), "{err}");
    let err = run(run_pipeline(&file, &state)).fails_with(1);
    assert!(err.contains(&format!("postrider log repair {}", state.display())), "{err}");
    let err = log("repair", &state, &[]).fails_with(1);
    assert!(err.contains("pipeline numbers: sealed epochs "), "{err}");
    assert!(err.contains("in 56 unreadable bytes: nobody knows what"), "{err}");
    assert!(err.contains("--drop-damaged"), "{err}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing was changed");

    let done = log("repair", &state, &["--drop-damaged"]);
    assert!(done.err.contains("the log is cut in front of the damage"), "{}", done.err);
    done.ok();
    assert_eq!(fs::read(segment.with_extension("log.damaged")).unwrap(), bytes);
    log("verify", &state, &[]).ok();
    // Its checkpoints are of what was cut off.
    let err = run(run_pipeline(&file, &state)).fails_with(1);
    assert!(err.contains("its end was lost"), "{err}");
    fs::remove_dir_all(state.join("checkpoints")).unwrap();
    run(run_pipeline(&file, &state)).ok();
}
