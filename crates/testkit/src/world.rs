//! One simulated run: a world with a disk, an object store, a mail provider and customers, and the processes that live in it.

use std::sync::{Arc, atomic::AtomicU64};

use postrider_core::{Clock, ClockTime};
use postrider_store::testing::{CachedFiles, Fault, FaultyStore, Operation};

use crate::{
    Carrier, Client, Death, Dice, DiskFaults, Injected, Journal, Life, Report, Shop, SimClock,
    Violation,
    plan::Plan,
    process::{End, Process, Told, open_log},
    time::SECOND,
    verdict,
};

/// 2026-11-24T12:00:00Z.
const NOON: ClockTime = ClockTime(1_795_521_600 * SECOND);

/// What goes wrong most in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Processes and machines die, disks are full and fail.
    Crashes,
    /// The object store fails; processes die as well.
    Objects,
    /// As [`Mode::Crashes`], on a disk that answers an fsync and does nothing: no log can live with that, so it has to be found out.
    LyingDisk,
    /// As [`Mode::Crashes`], with a provider that accepts a mail and says that it did not: likewise.
    LyingProvider,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its numbers, and what was wrong.
    pub report: Report,
    /// Of all bytes of the log and all names of objects: the same for the same seed.
    pub fingerprint: String,
}

/// The world of one run.
pub(crate) struct World {
    pub(crate) shop: Shop,
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) disk: CachedFiles,
    pub(crate) faults: DiskFaults,
    pub(crate) objects: FaultyStore,
    pub(crate) carrier: Carrier,
    pub(crate) client: Client,
    pub(crate) journal: Journal,
    pub(crate) injected: Injected,
    pub(crate) told: Arc<Told>,
    pub(crate) nonces: Arc<AtomicU64>,
    pub(crate) segment_bytes: u64,
    pub(crate) cycles: u64,
    mode: Mode,
    segments_deleted: u64,
}

/// Runs a seed.
pub fn simulate(shop: &Shop, mode: Mode, seed: u64) -> Outcome {
    let mut world = World::new(shop, mode, seed);
    let verdict = world.run();
    let mut report = Report::new(seed);
    report.seeds = 1;
    report.cycles = world.cycles;
    report.faults = world.injected.all();
    for (kind, count) in world.objects.injected() {
        report.faults.insert(format!("objects_{kind}"), count);
    }
    match verdict {
        Ok(facts) => report.facts = facts,
        Err(violation) => report.violations.push((seed, violation)),
    }
    let facts =
        [("checkpoints", world.told.checkpoints()), ("segments_deleted", world.segments_deleted)];
    report.facts.extend(facts.map(|(kind, count)| (kind.to_owned(), count)));
    let fingerprint = world.fingerprint();
    Outcome { report, fingerprint }
}

impl World {
    fn new(shop: &Shop, mode: Mode, seed: u64) -> Self {
        let dice = Dice::new(seed);
        let (clock, injected) = (SimClock::new(NOON), Injected::default());
        let mut sizes = dice.split(1);
        Self {
            shop: shop.clone(),
            faults: DiskFaults::new(dice.split(2), injected.clone()),
            carrier: Carrier::new(dice.split(3), injected.clone(), clock.clone()),
            client: Client::new(dice.split(4), injected.clone(), clock.clone()),
            disk: CachedFiles::default(),
            objects: FaultyStore::default(),
            journal: Journal::default(),
            told: Arc::default(),
            nonces: Arc::default(),
            segment_bytes: sizes.between(2_000, 20_000),
            cycles: 0,
            segments_deleted: 0,
            dice,
            clock,
            injected,
            mode,
        }
    }

    fn break_promises(&self) {
        match self.mode {
            Mode::LyingDisk => self.faults.lie(),
            Mode::LyingProvider => self.carrier.lie(),
            Mode::Crashes | Mode::Objects => {}
        }
    }

    fn run(&mut self) -> Result<std::collections::BTreeMap<String, u64>, Violation> {
        let mut dice = self.dice.split(5);
        self.break_promises();
        for _ in 0..dice.between(2, 6) {
            let plan = Plan::roll(&mut dice);
            self.misbehave(&mut dice);
            self.live(plan, &mut dice)?;
        }
        self.calm_down();
        match self.live(Plan::LAST, &mut dice)? {
            Some(End::Failed(reason)) => return Err(format!("with no fault left: {reason}").into()),
            Some(End::Finished) => {}
            None => return Err("the last process died".into()),
        }
        verdict::of(self)
    }

    fn misbehave(&self, dice: &mut Dice) {
        self.objects.heal();
        match self.mode {
            Mode::Crashes | Mode::LyingDisk | Mode::LyingProvider => {
                self.faults.set_failing(if dice.percent(25) { dice.between(1, 40) } else { 0 });
            }
            Mode::Objects => {
                self.objects.flaky(dice.roll(), dice.between(20, 200));
                if dice.percent(20) {
                    self.objects.plan(Operation::List, Fault::StaleList);
                }
            }
        }
    }

    fn calm_down(&self) {
        self.objects.heal();
        self.faults.set_failing(0);
        self.faults.set_full(false);
        self.carrier.calm_down();
    }

    /// One process; `None` if it died.
    fn live(&mut self, plan: Plan, dice: &mut Dice) -> Result<Option<End>, Violation> {
        self.cycles += 1;
        let life = Life::new(plan.death, dice.split(6));
        let clock = self.clock.clone();
        let mut doing = dice.split(7);
        dice.roll();
        let process = async {
            tokio::select! {
                biased;
                () = life.died() => Ok(None),
                () = clock.stuck() => Err("nobody can go on, and nobody waits for time".into()),
                end = self.process(&life, plan, &mut doing) => match end {
                    // Whatever a dead process thinks, it can't tell anybody.
                    _ if life.is_dead() => Ok(None),
                    end => end.map(Some),
                },
            }
        };
        let end = clock.run(process).map_err(|error| error.to_string())??;
        self.faults.set_full(false);
        self.bury(&life, plan, end.as_ref(), dice);
        Ok(end)
    }

    /// What is left of a process that died, or of the machine.
    fn bury(&self, life: &Life, plan: Plan, end: Option<&End>, dice: &mut Dice) {
        if life.died_recovering() {
            self.injected.count("death_in_recovery");
        }
        match end {
            Some(End::Finished) => {}
            Some(End::Failed(_)) => self.injected.count("process_gave_up"),
            None => self.injected.count("death"),
        }
        life.kill();
        if plan.power && plan.death != Death::Never {
            self.injected.count("power_loss");
            let chance = dice.between(0, 101);
            self.disk.lose_power(&mut || dice.percent(chance));
        }
    }

    async fn process(
        &mut self,
        life: &Life,
        plan: Plan,
        dice: &mut Dice,
    ) -> Result<End, Violation> {
        self.clock.sleep(plan.downtime).await;
        let log = match open_log(self, life) {
            Ok(log) => log,
            Err(error) => return Self::not_opened(&error),
        };
        self.journal.take(&log)?;
        self.client.restart(&self.journal)?;
        let mut process = match Process::start(self, life, log, plan.shards).await? {
            Ok(process) => process,
            Err(end) => return Ok(end),
        };
        if !process.pipeline.settle().await {
            return process.ended().await?.ok_or_else(|| "it ended without an end".into());
        }
        life.recovered();
        for _ in 0..plan.actions {
            if let Some(end) = process.ended().await? {
                return Ok(end);
            }
            self.act(&process, dice).await?;
        }
        if plan == Plan::LAST {
            return self.finish(process).await;
        }
        if dice.percent(30) && plan.may_stop() && process.ended().await?.is_none() {
            // What fails now is said by the next process.
            drop(process.stop().await);
        }
        Ok(End::Finished)
    }

    /// Why a log can't be opened: damage is never explained by what happens here.
    fn not_opened(error: &postrider_store::LogError) -> Result<End, Violation> {
        use postrider_store::LogError;
        match error {
            LogError::Files { .. } | LogError::Dead { .. } | LogError::DiskFull { .. } => {
                Ok(End::Failed(error.to_string()))
            }
            error => Err(error.to_string().into()),
        }
    }

    async fn act(&mut self, process: &Process, dice: &mut Dice) -> Result<(), Violation> {
        match dice.between(0, 100) {
            0..6 => self.client.post_again(&process.log),
            6..10 => {
                // An answer that is no is one that the next look at the process explains.
                process.pipeline.settle().await;
            }
            10..16 if self.mode == Mode::Crashes => {
                self.faults.set_full(true);
                self.client.post(&process.log);
                self.clock.sleep(dice.between(1, 3_000_000_000).cast_signed()).await;
                self.faults.set_full(false);
            }
            10..20 => {
                self.journal.take(&process.log)?;
                self.segments_deleted += process.tidy(self.clock.now().0).await?;
            }
            20..24 => self.clock.sleep(dice.between(60, 240).cast_signed() * SECOND).await,
            _ => {
                for _ in 0..dice.between(1, 4) {
                    self.client.post(&process.log);
                }
            }
        }
        let wait = if dice.percent(40) { 20 * SECOND } else { 20_000_000 };
        self.clock.sleep(dice.between(1, wait.unsigned_abs()).cast_signed()).await;
        Ok(())
    }

    /// Lets everything come to its end, with no fault any more.
    async fn finish(&mut self, process: Process) -> Result<End, Violation> {
        while !self.client.is_done() {
            if self.client.is_waiting() {
                self.client.post(&process.log);
            }
            self.clock.sleep(SECOND).await;
        }
        for _ in 0..6 {
            self.clock.sleep(1_200 * SECOND).await;
            process.pipeline.settle().await;
            process.mail.settle().await;
        }
        let log = process.log.clone();
        process.stop().await?;
        self.journal.take(&log)?;
        self.client.restart(&self.journal)?;
        Ok(End::Finished)
    }

    fn fingerprint(&self) -> String {
        let objects = self.objects.clone();
        let names = self.clock.run(async move { objects.names().await }).unwrap_or_default();
        let names = blake3::hash(names.join("\n").as_bytes()).to_hex().to_string();
        format!("{}-{}-{names}", self.journal.hash(), self.clock.now().0)
    }
}
