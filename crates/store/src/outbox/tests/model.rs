//! The fold against a model that keeps a list and looks everything up in it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use postrider_core::{Generation, SendId};
use proptest::prelude::*;

use super::{super::Outbox, Fold, row, send};
use crate::{SendOutcome, SendState, Views, view::MemoryViews};

#[derive(Debug, Clone)]
enum Step {
    /// Write trigger rows of the open epoch.
    Triggers { sink: usize, count: u32 },
    /// Seal the open epoch.
    Seal,
    /// Seal an epoch that was sealed before.
    SealAgain,
    /// Start a new process.
    Restart,
    /// Intend to send a row that is undecided or to be tried again.
    Intent(prop::sample::Index),
    /// Decide against a row.
    Decide(prop::sample::Index, usize),
    /// End an open intent.
    Result(prop::sample::Index, usize),
}

const SINKS: [&str; 2] = ["mail", "hook"];
const REASONS: [&str; 2] = ["duplicate", "expired"];
const OUTCOMES: [SendOutcome; 4] =
    [SendOutcome::Accepted, SendOutcome::Rejected, SendOutcome::Retry, SendOutcome::InDoubt];

fn steps() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..SINKS.len(), 0..4u32).prop_map(|(sink, count)| Step::Triggers { sink, count }),
        2 => Just(Step::Seal),
        1 => Just(Step::SealAgain),
        1 => Just(Step::Restart),
        4 => index().prop_map(Step::Intent),
        2 => (index(), 0..REASONS.len()).prop_map(|(row, reason)| Step::Decide(row, reason)),
        4 => (index(), 0..OUTCOMES.len()).prop_map(|(row, end)| Step::Result(row, end)),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Undecided,
    Intended,
    Accepted,
    Rejected,
    Retry,
    InDoubt,
    NotSent(&'static str),
}

#[derive(Debug)]
struct ModelRow {
    sink: &'static str,
    epoch: u64,
    row: u32,
    send: SendId,
    attempt: u32,
    generation: u64,
    state: State,
}

/// Every sealed row, in the order of the seals, and the unsealed counts of each sink.
#[derive(Debug, Default)]
struct Model {
    rows: Vec<ModelRow>,
    open: Vec<(usize, u32)>,
    epoch: u64,
}

impl Model {
    fn choose(&mut self, index: prop::sample::Index, states: &[State]) -> Option<&mut ModelRow> {
        let mut fitting: Vec<_> =
            self.rows.iter_mut().filter(|row| states.contains(&row.state)).collect();
        if fitting.is_empty() {
            None
        } else {
            Some(fitting.swap_remove(index.index(fitting.len())))
        }
    }

    fn seal(&mut self) -> u64 {
        self.epoch += 1;
        let mut numbers = [0; SINKS.len()];
        let mut sealed = 0;
        for (sink, count) in self.open.drain(..) {
            for _ in 0..count {
                let send = send(self.rows.len() as u8);
                let (state, row) = (State::Undecided, numbers[sink]);
                let (sink_name, epoch) = (SINKS[sink], self.epoch);
                self.rows.push(ModelRow {
                    sink: sink_name,
                    epoch,
                    row,
                    send,
                    attempt: 0,
                    generation: 0,
                    state,
                });
                numbers[sink] += 1;
                sealed += 1;
            }
        }
        sealed
    }

    fn restart(&mut self) {
        self.open.clear();
        for row in self.rows.iter_mut().filter(|row| row.state == State::Intended) {
            row.state = State::InDoubt;
        }
    }

    fn count(&self, state: &State) -> u64 {
        self.rows.iter().filter(|row| row.state == *state).count() as u64
    }
}

/// Takes a step in both.
fn step(fold: &mut Fold, model: &mut Model, step: &Step) {
    match step {
        Step::Triggers { sink, count } => {
            fold.triggers(SINKS[*sink], model.epoch + 1, *count);
            model.open.push((*sink, *count));
        }
        Step::Seal => {
            let rows = model.seal();
            let released = fold.seal(model.epoch, rows).unwrap();
            assert_eq!(released.iter().map(|set| u64::from(set.count)).sum::<u64>(), rows);
        }
        Step::SealAgain if model.epoch > 0 => drop(fold.seal(model.epoch, 0).unwrap()),
        Step::SealAgain => {}
        Step::Restart => {
            fold.restart();
            model.restart();
        }
        Step::Intent(index) => {
            let states = [State::Undecided, State::Retry, State::InDoubt];
            if let Some(found) = model.choose(*index, &states) {
                found.attempt += 1;
                found.generation = fold.generation;
                found.state = State::Intended;
                let place = row(found.sink, found.epoch, found.row);
                fold.intent(found.send, found.attempt, &place).unwrap();
            }
        }
        Step::Decide(index, reason) => {
            let states = [State::Undecided, State::Retry];
            if let Some(found) = model.choose(*index, &states) {
                found.state = State::NotSent(REASONS[*reason]);
                let place = row(found.sink, found.epoch, found.row);
                fold.decision(found.send, REASONS[*reason], &place).unwrap();
            }
        }
        Step::Result(index, outcome) => {
            if let Some(found) = model.choose(*index, &[State::Intended]) {
                let states = [State::Accepted, State::Rejected, State::Retry, State::InDoubt];
                found.state = states[*outcome].clone();
                fold.result(found.send, found.attempt, OUTCOMES[*outcome]).unwrap();
            }
        }
    }
}

fn expected(row: &ModelRow) -> Option<SendState> {
    let attempt = row.attempt;
    Some(match row.state {
        State::Undecided => return None,
        State::Intended => SendState::Intended { attempt, generation: Generation(row.generation) },
        State::Accepted => SendState::Accepted,
        State::Rejected => SendState::Rejected,
        State::Retry => SendState::Retry { attempt },
        State::InDoubt => SendState::InDoubt { attempt },
        State::NotSent(reason) => SendState::NotSent { reason: reason.into() },
    })
}

fn agree(fold: &Fold, model: &Model) {
    for row in &model.rows {
        assert_eq!(fold.outbox.state(row.send).cloned(), expected(row), "{row:?}");
    }
    assert_eq!(fold.outbox.sends().count() as u64, {
        model.rows.len() as u64 - model.count(&State::Undecided)
    });
    let counts = fold.counts();
    assert_eq!(counts.trigger_rows, model.rows.len() as u64);
    assert_eq!(counts.undecided, model.count(&State::Undecided));
    assert_eq!(counts.in_flight, model.count(&State::Intended));
    assert_eq!(counts.accepted, model.count(&State::Accepted));
    assert_eq!(counts.rejected, model.count(&State::Rejected));
    assert_eq!(counts.retry, model.count(&State::Retry));
    assert_eq!(counts.in_doubt, model.count(&State::InDoubt));
    let reasons = REASONS.map(|reason| (reason.to_owned(), model.count(&State::NotSent(reason))));
    let reasons = reasons.into_iter().filter(|(_, rows)| *rows > 0);
    assert_eq!(counts.not_sent, reasons.collect::<BTreeMap<_, _>>());

    let mut pending: Vec<_> = fold
        .pending()
        .into_iter()
        .flat_map(|(sink, epoch, rows)| rows.into_iter().map(move |row| (sink.clone(), epoch, row)))
        .collect();
    pending.sort_unstable();
    let undecided = model.rows.iter().filter(|row| row.state == State::Undecided);
    let mut expected: Vec<_> =
        undecided.map(|row| (row.sink.to_owned(), row.epoch, row.row)).collect();
    expected.sort_unstable();
    assert_eq!(pending, expected);
}

/// The bytes of a snapshot of an outbox: they say all that it knows, in a fixed order.
fn bytes(outbox: &Outbox) -> Bytes {
    let memory = MemoryViews::default();
    outbox.save(&Views::new(Arc::new(memory.clone()))).unwrap();
    memory.with(|snapshots| snapshots.first_key_value().unwrap().1.clone())
}

/// The outbox that another process makes of a snapshot.
fn restored(outbox: &Outbox) -> Outbox {
    let views = Views::new(Arc::new(MemoryViews::default()));
    outbox.save(&views).unwrap();
    views.read_alone(Outbox::VIEW, outbox.position(), Outbox::load).unwrap()
}

/// Rows of a send are there exactly as long as another attempt may follow.
fn rows_are_kept(fold: &Fold, model: &Model) {
    for row in &model.rows {
        let found = fold.outbox.rows_of(row.send).map(|set| (set.sink.as_str(), set.epoch.0));
        let open = matches!(row.state, State::Intended | State::Retry | State::InDoubt);
        assert_eq!(found, open.then_some((row.sink, row.epoch)), "{row:?}");
    }
}

/// Folds the steps, and becomes what a restart makes of a snapshot behind each of these.
fn run(steps: &[Step], snapshots: impl Fn(usize) -> bool) -> (Fold, Model) {
    let (mut fold, mut model) = (Fold::new(), Model::default());
    for (number, next) in steps.iter().enumerate() {
        step(&mut fold, &mut model, next);
        if snapshots(number) {
            fold.outbox = restored(&fold.outbox);
        }
    }
    (fold, model)
}

proptest! {
    // Each case restores an outbox as often as it has steps.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_snapshot_anywhere_and_the_rest_of_the_log_are_the_whole_log(
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        let (whole, model) = run(&steps, |_| false);
        let expected = bytes(&whole.outbox);
        for place in 0..steps.len() {
            let (fold, _) = run(&steps, |number| number == place);
            agree(&fold, &model);
            prop_assert_eq!(&bytes(&fold.outbox), &expected, "a snapshot behind step {}", place);
        }
        let (fold, _) = run(&steps, |_| true);
        agree(&fold, &model);
        rows_are_kept(&fold, &model);
        prop_assert_eq!(&bytes(&fold.outbox), &expected);
    }

    #[test]
    fn a_clone_stays_as_it_is_while_the_original_goes_on(
        before in prop::collection::vec(steps(), 1..40), after in prop::collection::vec(steps(), 1..20),
    ) {
        let (mut fold, mut model) = run(&before, |_| false);
        let (expected, clone) = (bytes(&fold.outbox), fold.outbox.clone());
        for next in &after {
            step(&mut fold, &mut model, next);
        }
        agree(&fold, &model);
        rows_are_kept(&fold, &model);
        prop_assert_eq!(bytes(&clone), expected);
    }

}

proptest! {
    #[test]
    fn no_row_is_lost_and_none_is_in_two_states(steps in prop::collection::vec(steps(), 1..80)) {
        let (mut fold, mut model) = (Fold::new(), Model::default());
        for next in steps {
            step(&mut fold, &mut model, &next);
            agree(&fold, &model);
        }
    }
}
