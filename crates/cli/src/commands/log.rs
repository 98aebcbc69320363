//! `postrider log`: whether a log is intact, and what to do if it is not.

use std::{collections::BTreeMap, path::Path};

use postrider_store::{Forgotten, FrameKind, LogRepair, LogReport, SegmentReport, verify};

use crate::{
    args::LogCommand,
    console::{self, count, counted},
    outcome::{Failure, Outcome},
};

/// Looks after a log.
pub(crate) fn run(command: &LogCommand) -> Outcome {
    match command {
        LogCommand::Verify(args) => {
            exists(&args.dir)?;
            check(&args.dir)
        }
        LogCommand::Repair(args) => {
            exists(&args.dir)?;
            repair(&args.dir, args.drop_damaged)
        }
    }
}

fn exists(dir: &Path) -> Outcome {
    if dir.is_dir() {
        return Ok(());
    }
    let shown = dir.display();
    Err(Failure::invalid(format!("there is no directory {shown}; give the --state-dir of a run")))
}

fn check(dir: &Path) -> Outcome {
    let report = verify(dir)?;
    for segment in &report.segments {
        console::line(describe(segment));
    }
    console::note(&summary(&report));
    if let Some(cut) = report.unfinished {
        let (bytes, at) = (count(cut.bytes), cut.at);
        console::note(&match &report.writer {
            Some(writer) => format!("{bytes} bytes behind it are being written by {writer}"),
            None => format!(
                "the last write is not intact: the next start cuts off {bytes} bytes at position {at}"
            ),
        });
    } else if let Some(writer) = &report.writer {
        console::note(&format!("{writer} is writing to it; what came later was not looked at"));
    }
    match report.damage {
        Some(damage) => Err(damage.into()),
        None => Ok(()),
    }
}

fn describe(segment: &SegmentReport) -> String {
    let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
    let (bytes, generation) = (count(segment.bytes), segment.generation.0);
    format!("{name}  {bytes} bytes, generation {generation}: {}", kinds(&segment.frames))
}

fn summary(report: &LogReport) -> String {
    let mut frames = BTreeMap::new();
    for (kind, number) in report.segments.iter().flat_map(|segment| &segment.frames) {
        *frames.entry(*kind).or_default() += number;
    }
    let generations = match (report.segments.first(), report.segments.last()) {
        (Some(first), Some(last)) => {
            format!(", generations {} to {}", first.generation.0, last.generation.0)
        }
        _ => String::new(),
    };
    format!(
        "{}{generations}, positions {} to {}: {}",
        counted(report.segments.len() as u64, "segment"),
        report.start,
        report.end,
        kinds(&frames)
    )
}

fn kinds(frames: &BTreeMap<FrameKind, u64>) -> String {
    if frames.is_empty() {
        return "no frames".to_owned();
    }
    let parts = frames.iter().map(|(kind, number)| counted(*number, word(*kind)));
    parts.collect::<Vec<_>>().join(", ")
}

const fn word(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Opened => "start",
        FrameKind::Event => "event",
        FrameKind::EpochSealed => "sealed epoch",
        FrameKind::Triggers => "batch of trigger row",
        FrameKind::Intent => "intent",
        FrameKind::SendResult => "result",
        FrameKind::Decision => "decision",
        FrameKind::Pipeline => "pipeline",
        FrameKind::Remembered => "remembered send",
    }
}

fn repair(dir: &Path, drop_damaged: bool) -> Outcome {
    let Some(repair) = LogRepair::begin(dir)? else {
        console::note("the log is intact: there is nothing to repair");
        return Ok(());
    };
    console::note(&format!("{}", repair.damage()));
    console::note(&costs(repair.forgotten()));
    if !drop_damaged {
        return Err(Failure::failed(format!(
            "nothing was changed; to forget all of this, run\n  postrider log repair {} --drop-damaged",
            dir.display()
        )));
    }
    let repaired = repair.drop_damaged()?;
    console::note(&format!(
        "the log is cut in front of the damage and remembers {}; the files as they were:",
        counted(repaired.remembered, "send")
    ));
    for path in &repaired.kept {
        console::note(&format!("  {}", path.display()));
    }
    Ok(())
}

/// What cutting the log means, as far as it is known.
fn costs(forgotten: &Forgotten) -> String {
    let mut text = format!("behind the damage can still be read: {}", kinds(&forgotten.frames));
    for (pipeline, (first, last)) in &forgotten.epochs {
        text.push_str(&format!("\n  pipeline {pipeline}: sealed epochs {first} to {last}"));
    }
    text.push_str(&format!(
        "\n  in {}: nobody knows what\ncutting the log in front of the damage forgets all of it: events that were confirmed are lost \
         unless their senders repeat them, epochs are computed anew from the input that is left, and the outbox forgets what became \
         of sends\n  {} that were begun there are remembered, so that they are not mailed again: they may have arrived, or not",
        counted(forgotten.unreadable_bytes, "unreadable byte"),
        counted(forgotten.sends(), "send"),
    ));
    if forgotten.unreadable_bytes > 0 {
        text.push_str(
            "\n  a send whose intent was in the unreadable bytes may be mailed a second time",
        );
    }
    text
}
