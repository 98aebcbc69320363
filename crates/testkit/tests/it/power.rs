//! Every subset of what was not synced when the machine lost power: in front of and behind each operation on files that the
//! end of an epoch makes, every combination of names, sizes and sectors that did or did not reach the disk.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use postrider_core::{ClockTime, SubjectId, WorkspaceId};
use postrider_reliability::Seeds;
use postrider_store::{
    EpochSealed, Frame, Log, LogError, LogIdentity, NewFrame, Outbox, SealKind, SimulatedWriter,
    TriggersRecord, testing::CachedFiles,
};
use postrider_testkit::{
    Death, Dice, DiskFaults, Injected, Life, LifeFiles, Report, SimClock, Violation,
};

/// Decisions that are taken one after the other; all sequences of them are gone through.
#[derive(Debug, Default)]
struct Choices {
    taken: Vec<bool>,
    next: usize,
}

impl Choices {
    fn choose(&mut self) -> bool {
        if self.next == self.taken.len() {
            self.taken.push(false);
        }
        self.next += 1;
        self.taken[self.next - 1]
    }

    /// Goes on to the next sequence; `false` if there is none.
    fn advance(&mut self) -> bool {
        self.next = 0;
        while self.taken.last() == Some(&true) {
            self.taken.pop();
        }
        self.taken.last_mut().is_some_and(|last| !std::mem::replace(last, true))
    }
}

/// The frames of an epoch: trigger rows in several frames over several sectors, and the seal.
fn epoch(epoch: u64) -> Vec<NewFrame> {
    let triggers = |sink: &str, bytes: usize| {
        let (pipeline, sink) = ("shop".to_owned(), sink.to_owned());
        let rows = Bytes::from(vec![b'r'; bytes]);
        TriggersRecord { pipeline, sink, epoch, count: 2, rows, fire_series: 0 }
            .frame(WorkspaceId::DEFAULT, SubjectId::NONE)
    };
    let seal = EpochSealed {
        pipeline: "shop".to_owned(),
        epoch,
        kind: SealKind::Input as i32,
        trigger_rows: 6,
        ..EpochSealed::default()
    };
    vec![
        triggers("carts", 700),
        triggers("digests", 20),
        triggers("trends", 900),
        seal.frame(WorkspaceId::DEFAULT, SubjectId::NONE),
    ]
}

fn open(disk: &CachedFiles, life: &Life, segment_bytes: u64) -> Result<Log, LogError> {
    let faults = DiskFaults::new(Dice::new(1), Injected::default());
    let files = LifeFiles::new(disk.clone(), life.clone(), faults);
    let clock = Arc::new(SimClock::new(ClockTime(0)));
    let takes_ns = Box::new(|| 0);
    let identity = Some(LogIdentity(7));
    let writer = SimulatedWriter { segment_bytes, identity, clock, takes_ns };
    Log::open_simulated(Arc::new(files), writer).map(|opened| opened.log)
}

fn frames(log: &Log) -> Vec<Frame> {
    let mut reader = log.reader(log.start());
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

/// What a process left on the disk that died at an operation of the second epoch's append.
struct Died {
    disk: CachedFiles,
    /// What was durable.
    before: Vec<Frame>,
    /// Whether the second epoch was answered for.
    promised: bool,
    /// Whether it died at all.
    died: bool,
}

fn die(death: Death, segment_bytes: u64) -> Died {
    let clock = SimClock::new(ClockTime(0));
    let run = clock.run(async {
        let disk = CachedFiles::default();
        let life = Life::new(death, Dice::new(2));
        let log = open(&disk, &life, segment_bytes).unwrap();
        log.append(epoch(1)).await.unwrap();
        let before = frames(&log);
        life.recovered();
        let promised = log.append(epoch(2)).await.is_ok();
        Died { disk, before, promised, died: life.is_dead() }
    });
    run.unwrap()
}

/// Opens what is left, and checks it: whether the second epoch is there.
fn check(died: &Died, segment_bytes: u64) -> Result<bool, Violation> {
    let clock = SimClock::new(ClockTime(0));
    let open = || open(&died.disk, &Life::new(Death::Never, Dice::new(3)), segment_bytes);
    let run = clock.run(async {
        let log = open().map_err(|error| error.to_string())?;
        let found = frames(&log);
        still_there(&died.before, &found)?;
        let mut outbox = Outbox::default();
        found.iter().for_each(|frame| drop(outbox.apply(frame).unwrap()));
        let rows = outbox.counts().trigger_rows;
        if rows != 12 && (rows != 6 || died.promised) {
            let expected = if died.promised || rows > 6 { 12 } else { 6 };
            return Err(Violation::differs(rows, expected, format!("{rows} rows")));
        }
        // What was found is durable by then, and the log goes on behind it.
        drop(log);
        tokio::task::yield_now().await;
        died.disk.lose_power(&mut || false);
        let log = open().map_err(|error| format!("again: {error}"))?;
        still_there(&found, &frames(&log))?;
        log.append(epoch(rows / 6 + 1)).await.unwrap();
        Ok(rows == 12)
    });
    run.unwrap()
}

/// That what was durable is.
fn still_there(durable: &[Frame], found: &[Frame]) -> Result<(), Violation> {
    let same = durable.iter().zip(found).take_while(|(durable, found)| durable == found).count();
    let lost = (durable.len() - same) as u64;
    if lost == 0 { Ok(()) } else { Err(Violation::lost(lost, "something durable is gone")) }
}

/// One subset: what was found of the second epoch, by a word.
fn subset(
    death: Death,
    segment_bytes: u64,
    choices: &mut Choices,
) -> Result<&'static str, Violation> {
    let died = die(death, segment_bytes);
    died.disk.lose_power(&mut || choices.choose());
    let whole = check(&died, segment_bytes).map_err(|violation| {
        let what = format!("{death:?}, kept {:?}: {violation}", &choices.taken[..choices.next]);
        Violation { what, ..violation }
    })?;
    Ok(if whole { "epoch_there" } else { "epoch_not_there" })
}

fn every_subset(name: &str, segment_bytes: u64) -> Report {
    let (mut report, began) = (Report::default(), Instant::now());
    for operation in 1.. {
        let dies = |done| Death::Exactly { operation, done };
        if !die(dies(true), segment_bytes).died {
            break;
        }
        for done in [false, true] {
            let mut choices = Choices::default();
            loop {
                match subset(dies(done), segment_bytes, &mut choices) {
                    Ok(kind) => *report.facts.entry(kind.to_owned()).or_default() += 1,
                    Err(violation) => report.violations.push((operation, violation)),
                }
                report.seeds += 1;
                if !choices.advance() {
                    break;
                }
            }
        }
        report.facts.insert("operations".to_owned(), operation);
    }
    let mut campaign = report.campaign().took(began.elapsed());
    campaign.seeds = Seeds::default();
    campaign.write(name).unwrap();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    report
}

#[test]
fn an_epoch_is_there_as_a_whole_or_not_whatever_a_power_loss_keeps_of_it() {
    let report = every_subset("power_loss_in_an_epoch", 1 << 20);
    assert!(report.seeds > 50 && report.facts["epoch_there"] > 0, "{report:?}");
}

#[test]
fn the_same_holds_where_an_epoch_begins_a_segment() {
    let report = every_subset("power_loss_at_a_new_segment", 1_000);
    assert!(report.facts["operations"] >= 6 && report.facts["epoch_there"] > 0, "{report:?}");
}
