//! An object store in memory that fails on command, or at random by a seed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, memory::InMemory, path::Path,
};
use postrider_core::Sleep;
use tokio::sync::oneshot;

/// What is done to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Listing.
    List,
    /// Asking for a size.
    Size,
    /// Reading bytes.
    Read,
    /// Creating an object.
    Write,
    /// Deleting an object.
    Delete,
}

/// Lets time pass before an operation reaches the store, and again before its answer comes back. One that never completes is
/// a client that died.
pub type Pause = Arc<dyn Fn(Operation) -> Sleep + Send + Sync>;

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing is done.
    Error,
    /// It is done, and an error is reported.
    ErrorAfter,
    /// It is done, the answer is lost, and the client tries again.
    RetriedWrite,
    /// The last byte does not come.
    Truncated,
    /// A bit of what comes is wrong.
    Flipped,
    /// The object that was written last is not shown yet.
    StaleList,
}

/// Operations at random that fail, in a thousand.
#[derive(Debug, Clone, Copy)]
struct Chance {
    seed: u64,
    per_mille: u64,
}

#[derive(Debug, Default)]
struct Faults {
    planned: Vec<(Operation, Fault)>,
    chance: Option<Chance>,
    /// How many operations are left until the process dies, and whether the last one is done.
    death: Option<(u64, bool)>,
    operations: u64,
    ignores_create: bool,
    /// An object that listings do not show yet.
    hidden: Option<Path>,
    written: Vec<Path>,
    injected: BTreeMap<&'static str, u64>,
}

/// The store. Clones share everything but how they pause.
#[derive(Clone, Default)]
pub struct FaultyStore {
    /// The store without faults.
    pub objects: Arc<InMemory>,
    faults: Arc<Mutex<Faults>>,
    pause: Option<Pause>,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").finish_non_exhaustive()
    }
}

/// Stops one client of the store before an operation of its.
#[derive(Debug)]
struct Gate {
    left: u64,
    reached: oneshot::Sender<()>,
    opened: oneshot::Receiver<()>,
}

impl FaultyStore {
    /// The same store, seen by a client of its own.
    #[must_use]
    pub fn seen_through(&self, pause: Pause) -> Self {
        Self { pause: Some(pause), ..self.clone() }
    }

    /// How many faults of each kind there were.
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.faults().injected.clone()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same store for another client, which has a gate of its own.
    #[cfg(test)]
    pub(super) fn for_another(&self) -> Self {
        Self { gate: Arc::default(), ..self.clone() }
    }

    /// Stops this client before its `operation`-th operation from now: tells when it got there, and takes the word to go on.
    #[cfg(test)]
    pub(super) fn pause_at(&self, operation: u64) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((reached, is_reached), (open, opened)) = (oneshot::channel(), oneshot::channel());
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Gate { left: operation, reached, opened });
        (is_reached, open)
    }

    async fn pass_gate(&self) {
        let gate = {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(gate) = gate.as_mut() {
                gate.left -= 1;
            }
            gate.take_if(|gate| gate.left == 0)
        };
        if let Some(gate) = gate {
            // Whoever set it may have stopped waiting.
            if gate.reached.send(()).is_ok() {
                gate.opened.await.ok();
            }
        }
    }

    /// The next operation of a kind has a fault.
    pub fn plan(&self, operation: Operation, fault: Fault) {
        self.faults().planned.push((operation, fault));
    }

    /// From now on operations have faults at random.
    pub fn flaky(&self, seed: u64, per_mille: u64) {
        self.faults().chance = Some(Chance { seed, per_mille });
    }

    /// Listings do not show an object yet.
    pub fn hide(&self, name: &str) {
        self.faults().hidden = Some(Path::from(name));
    }

    /// The process dies at its `operation`-th operation from now, before it is done or after.
    pub fn die_at(&self, operation: u64, done: bool) {
        self.faults().death = Some((operation, done));
    }

    /// Whether the process got as far as its death. A new one takes its place, and nothing is planned.
    pub fn heal(&self) -> bool {
        let mut faults = self.faults();
        faults.planned.clear();
        faults.chance = None;
        faults.hidden = None;
        matches!(faults.death.take(), Some((0, _)))
    }

    /// Lets creates overwrite.
    pub fn ignore_create(&self) {
        self.faults().ignores_create = true;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.faults().operations
    }

    /// Changes the bytes of an object behind everybody's back.
    ///
    /// # Errors
    /// There is no such object.
    pub async fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut bytes = self.objects.get(path).await?.bytes().await?.to_vec();
        change(&mut bytes);
        self.objects.put(path, PutPayload::from(bytes)).await.map(drop)
    }

    /// The names of all objects, in order.
    pub async fn names(&self) -> Vec<String> {
        let listed: Vec<_> = self.objects.list(None).try_collect().await.unwrap_or_default();
        let mut names: Vec<_> = listed.iter().map(|object| object.location.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Counts an operation, and says what goes wrong with it.
    fn next(&self, operation: Operation) -> Result<Option<Fault>> {
        let fault = self.roll(operation)?;
        if let Some(fault) = fault {
            *self.faults().injected.entry(fault.word()).or_default() += 1;
        }
        Ok(fault)
    }

    fn roll(&self, operation: Operation) -> Result<Option<Fault>> {
        let mut faults = self.faults();
        faults.operations += 1;
        match &mut faults.death {
            Some((0, _)) => return Err(broken("the process is dead")),
            Some((left, done)) => {
                *left -= 1;
                if *left == 0 {
                    return Ok(Some(if *done { Fault::ErrorAfter } else { Fault::Error }));
                }
            }
            None => {}
        }
        if let Some(place) = faults.planned.iter().position(|(planned, _)| *planned == operation) {
            return Ok(Some(faults.planned.remove(place).1));
        }
        Ok(faults.chance.as_mut().and_then(|chance| chance.fault(operation)))
    }

    async fn run<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Option<Fault>)> {
        self.pass_gate().await;
        self.wait(operation).await;
        let done = match self.next(operation)? {
            Some(Fault::Error) => Err(broken("no answer")),
            Some(Fault::ErrorAfter) => {
                work.await?;
                Err(broken("the answer is lost"))
            }
            fault => work.await.map(|done| (done, fault)),
        };
        self.wait(operation).await;
        done
    }

    async fn wait(&self, operation: Operation) {
        if let Some(pause) = &self.pause {
            pause(operation).await;
        }
    }
}

impl Fault {
    /// What reports call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Error => "error",
            Self::ErrorAfter => "done_then_error",
            Self::RetriedWrite => "retried_write",
            Self::Truncated => "truncated_read",
            Self::Flipped => "flipped_bit",
            Self::StaleList => "stale_list",
        }
    }
}

impl Chance {
    fn fault(&mut self, operation: Operation) -> Option<Fault> {
        let faults: &[_] = match operation {
            Operation::List | Operation::Size => &[Fault::Error],
            Operation::Read => &[Fault::Error, Fault::Truncated, Fault::Flipped],
            Operation::Write => &[Fault::Error, Fault::ErrorAfter, Fault::RetriedWrite],
            Operation::Delete => &[Fault::Error, Fault::ErrorAfter],
        };
        let now = self.random() % 1000 < self.per_mille;
        let which = self.random() as usize % faults.len();
        now.then(|| faults[which])
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn broken(reason: &str) -> Error {
    Error::Generic { store: "faulty", source: reason.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.faults().ignores_create {
            options.mode = PutMode::Overwrite;
        }
        let work = self.objects.put_opts(location, payload.clone(), options.clone());
        let done = self.run(Operation::Write, work).await;
        self.faults().written.push(location.clone());
        match done? {
            (_, Some(Fault::RetriedWrite)) => {
                self.objects.put_opts(location, payload, options).await
            }
            (result, _) => Ok(result),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            let work = self.objects.get_opts(location, options);
            return Ok(self.run(Operation::Size, work).await?.0);
        }
        let work = self.objects.get_opts(location, options);
        let (mut result, fault) = self.run(Operation::Read, work).await?;
        let (meta, range, attributes) =
            (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let extensions = std::mem::take(&mut result.extensions);
        let mut bytes = result.bytes().await?.to_vec();
        match fault {
            Some(Fault::Truncated) => drop(bytes.pop()),
            Some(Fault::Flipped) => {
                let middle = bytes.len() / 2;
                bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
            }
            _ => {}
        }
        let body = stream::iter([Ok(Bytes::from(bytes))]).boxed();
        let payload = GetResultPayload::Stream(body);
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.run(Operation::Delete, store.objects.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let work = store.objects.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let (mut listed, fault) = store.run(Operation::List, work).await?;
            let faults = store.faults();
            listed.retain(|object| Some(&object.location) != faults.hidden.as_ref());
            if fault == Some(Fault::StaleList) {
                let shown = |path: &&Path| listed.iter().any(|object| object.location == **path);
                let hidden = faults.written.iter().rev().find(shown).cloned();
                listed.retain(|object| Some(&object.location) != hidden.as_ref());
            }
            Ok::<_, Error>(stream::iter(listed.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
