//! A start while the checkpoint store can't be reached.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use futures::{StreamExt, poll, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};

use super::{Home, Member};
use crate::{member::STORE_PAUSE_NS, outcome::Outcome};

/// A store that is away, until it is not.
#[derive(Debug, Clone)]
struct Away {
    store: Arc<InMemory>,
    away: Arc<AtomicBool>,
}

impl Away {
    fn look(&self) -> object_store::Result<()> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(object_store::Error::Generic { store: "away", source: "no route".into() }),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Away")
    }
}

#[async_trait]
impl ObjectStore for Away {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.look()?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.look()?;
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.look()?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.look() {
            Ok(()) => self.store.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.look()?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.look()?;
        self.store.copy_opts(from, to, options).await
    }
}

/// Starts a pipeline whose checkpoints are away for so many seconds; how it went, and how many seconds that took by its clock.
async fn start_after(seconds: i64) -> (Outcome<Member>, i64) {
    const SECOND: i64 = 1_000_000_000;
    let away = Arc::new(AtomicBool::new(true));
    let store = Away { store: Arc::default(), away: Arc::clone(&away) };
    let home = Home { objects: Arc::new(store), ..Home::new() };
    let clock = home.clock.clone();
    let mut starting = pin!(home.start(false));
    for passed in 0..120 {
        away.store(passed < seconds, Ordering::Relaxed);
        // Whatever the start can do without time passing, it does.
        for _ in 0..100 {
            if let Poll::Ready(started) = poll!(starting.as_mut()) {
                return (started, passed);
            }
            tokio::task::yield_now().await;
        }
        if passed > seconds.saturating_add(STORE_PAUSE_NS / SECOND) {
            // It has nothing to wait for any more but work on other threads.
            return (starting.await, passed);
        }
        clock.advance(SECOND);
    }
    panic!("it waits for ever");
}

#[tokio::test]
async fn a_start_waits_half_a_minute_for_its_checkpoints_and_then_gives_up() {
    let (started, waited) = start_after(i64::MAX).await;
    let failure = started.err().unwrap();
    assert!((30..=33).contains(&waited), "{waited} s");
    for words in [
        "pipeline `test` can't start: ",
        "no route",
        "Its log is intact, and nothing was processed",
        "start again once the store can be used",
        "another place for --checkpoints",
    ] {
        assert!(failure.text.contains(words), "{words} in {}", failure.text);
    }
}

#[tokio::test]
async fn a_start_goes_on_once_its_checkpoints_can_be_used() {
    let (started, waited) = start_after(20).await;
    assert!((20..=24).contains(&waited), "{waited} s");
    let mut member = started.unwrap();
    member.ended().await.unwrap();
    assert_eq!(member.into_summary().unwrap().rows, 500);
}
