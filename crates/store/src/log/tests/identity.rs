//! Which log it is: given once, durable before the first frame, and kept.

use std::{fs, sync::Arc};

use super::{Tuning, event, read_all, texts};
use crate::{
    Log, LogError, LogIdentity, LogOptions, LogReader,
    files::{LogFiles, faulty::FaultyFiles, page_cache::CachedFiles},
};

const ONE: Option<LogIdentity> = Some(LogIdentity(1));
const TWO: Option<LogIdentity> = Some(LogIdentity(2));

fn open(files: Arc<dyn LogFiles>, identity: Option<LogIdentity>) -> Result<Log, LogError> {
    let tuning = Tuning { segment_bytes: 1, identity, ..Tuning::default() };
    Log::open_files(files, tuning, None).map(|opened| opened.log)
}

#[tokio::test]
async fn a_log_keeps_the_identity_that_it_got_first_also_once_its_beginning_is_deleted() {
    let files = FaultyFiles::default();
    let open = |identity| open(Arc::new(files.clone()), identity).unwrap();
    assert_eq!(open(ONE).identity(), ONE);
    let log = open(TWO);
    assert_eq!(log.identity(), ONE);
    log.append(vec![event("a")]).await.unwrap();
    let at = log.append(vec![event("b")]).await.unwrap().first;
    log.truncate_before(at).unwrap();
    drop(log);
    let log = open(None);
    assert_eq!((log.identity(), log.start()), (ONE, at));
    assert_eq!(texts(&read_all(log.reader(log.start()))), ["b"]);
}

#[tokio::test]
async fn a_log_from_before_identities_can_be_used_and_gets_one() {
    let files = FaultyFiles::default();
    let open = |identity| open(Arc::new(files.clone()), identity).unwrap();
    let log = open(None);
    assert_eq!(log.identity(), None);
    log.append(vec![event("a")]).await.unwrap();
    let at = log.append(vec![event("b")]).await.unwrap().first;
    log.truncate_before(at).unwrap();
    drop(log);
    let log = open(TWO);
    assert_eq!((log.identity(), log.start()), (TWO, at));
    drop(log);
    assert_eq!(open(ONE).identity(), TWO);
}

#[tokio::test]
async fn a_power_loss_behind_the_first_frame_leaves_the_identity() {
    let files = CachedFiles::default();
    drop(open(Arc::new(files.clone()), ONE).unwrap());
    files.lose_power(&mut || false);
    assert_eq!(open(Arc::new(files), TWO).unwrap().identity(), ONE);
}

#[tokio::test]
async fn a_log_that_can_not_be_given_an_identity_has_no_frame() {
    let files = FaultyFiles::default();
    *files.faults.steps.lock().unwrap() = Some(0);
    let error = open(Arc::new(files.clone()), ONE).unwrap_err();
    assert!(matches!(error, LogError::Files { operation: "write", .. }), "{error}");
    assert!(files.bases().unwrap().is_empty());
}

#[test]
fn a_directory_tells_which_log_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(LogIdentity::of_directory(dir.path()).unwrap(), None);
    let options = || LogOptions { identity: ONE, ..LogOptions::new(dir.path()) };
    drop(Log::open(options()).unwrap());
    assert_eq!(LogIdentity::of_directory(dir.path()).unwrap(), ONE);
    assert_eq!(LogReader::of_directory(dir.path()).unwrap().identity(), ONE);
    fs::write(dir.path().join("START"), "anything").unwrap();
    for error in
        [LogIdentity::of_directory(dir.path()).unwrap_err(), Log::open(options()).unwrap_err()]
    {
        assert!(matches!(error, LogError::StartUnreadable { .. }), "{error}");
    }
}
