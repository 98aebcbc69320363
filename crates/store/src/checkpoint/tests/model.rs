//! Random lives of a pipeline, against what must hold of all of them: the newest checkpoint that was
//! committed is recovered, with every byte.

use std::collections::HashMap;

use bytes::Bytes;
use postrider_core::ErrorKind;
use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{BlobRef, Checkpoint, CheckpointError, Manifest, Process, World, bytes_of};

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    /// Parts change, and a checkpoint is taken.
    Checkpoint { changed: Vec<u64>, trouble: Trouble },
    /// Garbage is collected.
    Collect { manifests: usize, trouble: Trouble },
    /// A new process starts; the old one lives on as a zombie.
    Restart,
    /// The zombie takes a checkpoint.
    ZombieCheckpoint { changed: Vec<u64> },
    /// The zombie collects garbage.
    ZombieCollect { manifests: usize },
}

/// What goes wrong meanwhile.
#[derive(Debug, Clone)]
enum Trouble {
    Nothing,
    /// The process dies at an operation, before it is done or after.
    Death {
        operation: u64,
        done: bool,
    },
    /// Operations fail at random.
    Flaky {
        seed: u64,
    },
}

fn troubles() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => Just(Trouble::Nothing),
        2 => (1..12_u64, any::<bool>())
            .prop_map(|(operation, done)| Trouble::Death { operation, done }),
        2 => any::<u64>().prop_map(|seed| Trouble::Flaky { seed }),
    ]
}

fn changes() -> impl Strategy<Value = Vec<u64>> {
    proptest::sample::subsequence((0..5).collect::<Vec<_>>(), 0..=3)
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (changes(), troubles())
            .prop_map(|(changed, trouble)| Event::Checkpoint { changed, trouble }),
        3 => (1..4_usize, troubles())
            .prop_map(|(manifests, trouble)| Event::Collect { manifests, trouble }),
        1 => Just(Event::Restart),
        1 => changes().prop_map(|changed| Event::ZombieCheckpoint { changed }),
        1 => (1..4_usize).prop_map(|manifests| Event::ZombieCollect { manifests }),
    ]
}

/// What must be true of the store.
struct Model {
    world: World,
    generation: u64,
    process: Process,
    zombie: Option<Process>,
    /// Whether the process has written a manifest, so that the zombie is fenced.
    succeeded: bool,
    /// Whether any checkpoint was committed.
    committed: bool,
    /// The last checkpoint that was committed, and those after it of which nobody knows.
    possible: Vec<(Checkpoint, HashMap<BlobRef, Bytes>)>,
}

impl Model {
    async fn new() -> Self {
        let world = World::default();
        let process = world.start(1).await;
        Self {
            world,
            generation: 1,
            process,
            zombie: None,
            succeeded: false,
            committed: false,
            possible: Vec::new(),
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Checkpoint { changed, trouble } => {
                self.begin(&trouble);
                let outcome = self.process.checkpoint(&changed).await;
                let dead = self.world.store.heal();
                let tried = self.process.tried.lock().unwrap().take();
                self.succeeded |= outcome.is_ok();
                self.note(&outcome, tried);
                self.restart_if(dead).await;
            }
            Event::Collect { manifests, trouble } => {
                self.begin(&trouble);
                let outcome = self.process.collect(manifests).await;
                let dead = self.world.store.heal();
                assert!(outcome.is_ok() || !matches!(trouble, Trouble::Nothing));
                self.restart_if(dead).await;
            }
            Event::Restart => self.restart_if(true).await,
            Event::ZombieCheckpoint { changed } => {
                let Some(zombie) = &mut self.zombie else { return };
                let outcome = zombie.checkpoint(&changed).await;
                let tried = zombie.tried.lock().unwrap().take();
                if self.succeeded {
                    assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::Fenced);
                }
                self.note(&outcome, tried);
            }
            Event::ZombieCollect { manifests } => {
                if let Some(zombie) = &self.zombie {
                    zombie.collect(manifests).await.unwrap();
                }
            }
        }
    }

    fn begin(&self, trouble: &Trouble) {
        match trouble {
            Trouble::Nothing => {}
            Trouble::Death { operation, done } => self.world.store.die_at(*operation, *done),
            Trouble::Flaky { seed } => self.world.store.flaky(*seed, 100),
        }
    }

    fn note(
        &mut self,
        outcome: &Result<Manifest, CheckpointError>,
        tried: Option<(Checkpoint, HashMap<BlobRef, Bytes>)>,
    ) {
        match outcome {
            Ok(_) => {
                self.committed = true;
                self.possible = tried.into_iter().collect();
            }
            Err(CheckpointError::Fenced { .. } | CheckpointError::OtherLog { .. }) => {}
            Err(_) => self.possible.extend(tried),
        }
    }

    async fn restart_if(&mut self, dead: bool) {
        if dead {
            self.generation += 1;
            let next = self.world.start(self.generation).await;
            self.zombie = Some(std::mem::replace(&mut self.process, next));
            self.succeeded = self.process.store.lineage().base().is_some();
        }
    }

    async fn check(&self) {
        let store = self.world.checkpoints(u64::MAX);
        let recovery = store.newest_valid(&|_| Ok(())).await.unwrap();
        assert!(recovery.skipped.is_empty(), "{:?}", recovery.skipped);
        let Some(recovered) = recovery.recovered else {
            assert!(!self.committed, "nothing was recovered");
            return;
        };
        let found = self
            .possible
            .iter()
            .find(|(checkpoint, _)| *checkpoint == recovered.manifest.checkpoint)
            .expect("an older checkpoint was recovered");
        assert_eq!(bytes_of(&recovered.blobs, &recovered.manifest), found.1);
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_newest_committed_checkpoint_is_always_recovered(events in vec(events(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for event in events {
                model.happen(event).await;
                model.check().await;
            }
        });
    }
}
