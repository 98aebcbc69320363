//! What must be true of a run once everything has settled.

use std::collections::BTreeMap;

use postrider_store::{Outbox, SendState};

use crate::{Violation, oracle, world::World};

/// Checks everything; what was counted.
pub(crate) fn of(world: &World) -> Result<BTreeMap<String, u64>, Violation> {
    let counted = oracle::check(&world.journal)?;
    promises(world)?;
    let mut facts = mails(world, counted.rows)?;
    let counts = [
        ("events", counted.events),
        ("late", counted.late),
        ("trigger_rows", counted.rows),
        ("epochs", counted.epochs),
    ];
    facts.extend(counts.map(|(kind, count)| (kind.to_owned(), count)));
    Ok(facts)
}

/// What was announced as sealed is sealed, and the same.
fn promises(world: &World) -> Result<(), Violation> {
    let epochs = world.journal.epochs()?;
    for (epoch, rows) in world.told.seals() {
        let found = epochs.iter().find(|sealed| sealed.seal.epoch == epoch);
        match found.map(|sealed| sealed.seal.trigger_rows) {
            Some(found) if found == rows => {}
            found => {
                let what = format!("epoch {epoch} was announced with {rows}, has {found:?}");
                return Err(Violation::differs(found.unwrap_or_default(), rows, what));
            }
        }
    }
    Ok(())
}

/// Each trigger row is in one state, and what the provider accepted fits it.
fn mails(world: &World, rows: u64) -> Result<BTreeMap<String, u64>, Violation> {
    let mut outbox = Outbox::default();
    for frame in world.journal.frames() {
        outbox.apply(frame).map_err(|error| error.to_string())?;
    }
    let counts = outbox.counts();
    if !counts.conserved() || counts.trigger_rows != rows {
        let what = format!("{rows} trigger rows are not conserved: {counts:?}");
        return Err(Violation::differs(counts.trigger_rows, rows, what));
    }
    if counts.pending() != 0 {
        return Err(Violation::lost(counts.pending(), format!("rows were left: {counts:?}")));
    }
    let accepted = world.carrier.accepted();
    for (send, entry) in outbox.sends() {
        let mails = accepted.get(&send).map_or(0, Vec::len);
        let once = entry.sink != "digests";
        let fits = match entry.state {
            SendState::Accepted => mails > 0,
            SendState::InDoubt { .. } => true,
            SendState::Rejected | SendState::NotSent { .. } => mails == 0,
            SendState::Intended { .. } | SendState::Retry { .. } => false,
        };
        if !fits || (once && mails > 1) {
            let state = entry.state;
            let what = format!("send {send:?} of {} is {state:?} with {mails} mails", entry.sink);
            let expected = u64::from(matches!(state, SendState::Accepted));
            return Err(Violation::differs(mails as u64, expected, what));
        }
    }
    for (send, ids) in &accepted {
        if outbox.state(*send).is_none() {
            let what = format!("send {send:?} was mailed and nobody intended it");
            return Err(Violation::twice(ids.len() as u64, what));
        }
        if ids.iter().any(|id| *id != ids[0]) {
            let what = format!("send {send:?} was mailed under several ids");
            return Err(Violation::twice(ids.len() as u64 - 1, what));
        }
    }
    let count = |kind: &str, count: u64| (kind.to_owned(), count);
    Ok(BTreeMap::from([
        count("mails_accepted", counts.accepted),
        count("mails_in_doubt", counts.in_doubt),
        count("mails_rejected", counts.rejected),
        count("mails_not_sent", counts.not_sent.values().sum()),
    ]))
}
