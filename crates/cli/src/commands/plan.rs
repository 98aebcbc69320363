//! What becomes of the state of an edited pipeline, shown before anything happens.

use std::path::Path;

use postrider_core::{Clock, format_duration};
use postrider_engine::{Fate, OperatorPlan, RestoreFrom, SystemClock, UpgradePlan};
use postrider_store::{LogReader, LogSpan, Lsn, Manifest};

use super::state;
use crate::{
    columns::{Align, aligned},
    console::{self, count, counted},
    outcome::{Failure, Outcome},
    project::LoadedPipeline,
    report, services,
};

/// Whether the plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Now.
    Running,
    /// By the next run, on a log that may have lost its beginning.
    Asked { log_was_cut: bool },
}

/// Shows what each pipeline would keep and rebuild. Changes nothing, and works beside a process that runs.
pub(super) fn show(
    dir: Option<&Path>,
    pipelines: &[LoadedPipeline],
    from: Option<&RestoreFrom>,
) -> Outcome {
    let now = SystemClock::new().now().0;
    for pipeline in pipelines {
        let name = &pipeline.program.name;
        let Some(dir) = dir else {
            console::line(format!("pipeline {name}  keeps nothing without --state-dir"));
            continue;
        };
        let manifest = match state::store(dir, &name.0)? {
            Some(store) => services::block_on(newest(&store, dir, from))??,
            None => None,
        };
        let plan = UpgradePlan::new(&pipeline.program, manifest.as_ref())
            .map_err(|found| report::failure(&pipeline.path, &pipeline.program.sql, &found.0))?;
        let log_was_cut = log(dir)?.is_some_and(|reader| reader.start() > Lsn(0));
        for line in describe(&name.0, &plan, now, Doing::Asked { log_was_cut }) {
            console::line(line);
        }
    }
    Ok(())
}

/// The checkpoint that a run would go on from.
async fn newest(
    store: &postrider_store::CheckpointStore,
    dir: &Path,
    from: Option<&RestoreFrom>,
) -> Outcome<Option<Manifest>> {
    // Where a log ends is not looked at: a process that runs may have written more meanwhile.
    let span = log(dir)?.map(|reader| LogSpan::of_reader(&reader));
    let fits = |manifest: &Manifest| span.map_or(Ok(()), |span| span.fits(&manifest.checkpoint));
    if let Some(wanted) = from {
        let manifest = state::find(store, Some(wanted)).await?;
        return match fits(&manifest) {
            Ok(()) => Ok(Some(manifest)),
            Err(reason) => Err(Failure::invalid(format!("{wanted} can't be restored: {reason}"))),
        };
    }
    let recovery = store.newest_valid(&fits).await?;
    for (id, why) in &recovery.skipped {
        console::note(&format!("checkpoint {id} is passed over: {why}"));
    }
    Ok(recovery.recovered.map(|recovered| recovered.manifest))
}

/// The log of a directory; `None` if there is none.
fn log(dir: &Path) -> Outcome<Option<LogReader>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    Ok(Some(LogReader::of_directory(dir)?))
}

/// A plan as lines.
pub(super) fn describe(name: &str, plan: &UpgradePlan, now: i64, doing: Doing) -> Vec<String> {
    let mut lines = vec![format!("pipeline {name}  {}", headline(plan, now))];
    let nothing_to_do = plan.same && plan.keeps_all() && doing != Doing::Running;
    if plan.manifest.is_none() && doing != Doing::Running {
        return lines;
    }
    lines.extend(operators(plan).into_iter().map(|line| format!("  {line}")));
    if nothing_to_do {
        return lines;
    }
    lines.push(
        "nothing fires again for what was decided; --refire mails everybody again".to_owned(),
    );
    if matches!(doing, Doing::Asked { log_was_cut: true }) && !plan.keeps_all() {
        lines.push(
            "the log no longer has its beginning: where it lacks rows of windows and sessions that are open now, a run is \
             refused without --accept-gap"
                .to_owned(),
        );
    }
    lines
}

fn headline(plan: &UpgradePlan, now: i64) -> String {
    let Some(number) = plan.manifest else {
        return "no checkpoint yet: a run reads the log from its beginning".to_owned();
    };
    let (epoch, age) = (count(plan.epoch), age(plan.created_at, now));
    let facts = format!("checkpoint {number} (epoch {epoch}, {age} old)");
    match plan.same {
        true if plan.keeps_all() => format!("computes the same as {facts}: everything is kept"),
        true => format!("computes the same as {facts}"),
        false => format!("changed since {facts}"),
    }
}

/// How long ago something was, in whole seconds.
pub(super) fn age(then: i64, now: i64) -> String {
    let ns = now.saturating_sub(then).max(0) / 1_000_000_000 * 1_000_000_000;
    format_duration(ns)
}

fn operators(plan: &UpgradePlan) -> Vec<String> {
    let rows = |rows: u64| format!("{} of state", counted(rows, "row"));
    let operator = |operator: &OperatorPlan| {
        let (word, from) = match operator.fate {
            Fate::Keep { rows: kept } => ("keep", rows(kept)),
            Fate::Rebuild => ("rebuild", "from the log".to_owned()),
        };
        let keys = operator.keys.join(", ");
        let by = if keys.is_empty() { String::new() } else { format!(" by {keys}") };
        vec![word.to_owned(), format!("{}{by}", operator.name), from]
    };
    let mut cells: Vec<_> = plan.operators.iter().map(operator).collect();
    let forgotten = plan.forgotten.iter();
    cells.extend(
        forgotten.map(|state| vec!["forget".to_owned(), state.name.clone(), rows(state.rows)]),
    );
    if cells.is_empty() {
        return vec!["it keeps no state between rows".to_owned()];
    }
    aligned(&cells, &[Align::Left, Align::Left, Align::Left])
}
