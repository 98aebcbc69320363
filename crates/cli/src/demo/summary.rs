//! The end of the demo: what happened, in numbers that can be checked.

use std::{collections::HashSet, path::Path};

use postrider_store::{Counts, Log};
use serde_json::json;

use super::{
    latency::{Distribution, Latencies, Snapshot},
    load::Loaded,
};
use crate::{
    args::DemoArgs,
    commands::outbox::{Sends, fates},
    console::{self, count, milliseconds},
    outcome::{Failure, Outcome},
    services::Services,
};

/// Everything the summary says.
pub(crate) struct Summary {
    loaded: Option<Loaded>,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    seen: Snapshot,
    counts: Counts,
    mails: Mails,
}

/// What lies in the mailbox.
#[derive(Debug, Clone, Copy, Default)]
struct Mails {
    files: u64,
    twice: u64,
}

impl Summary {
    pub(crate) fn collect(
        services: &Services,
        log: &Log,
        latencies: &Latencies,
        loaded: Option<&Loaded>,
        dir: &Path,
    ) -> Outcome<Self> {
        let stats = services.collector.as_ref();
        let sends = Sends::read(&log.reader(log.start()), || false)?;
        Ok(Self {
            loaded: loaded.copied(),
            accepted: stats.map_or(0, |stats| stats.accepted()),
            duplicate: stats.map_or(0, |stats| stats.duplicate()),
            rejected: stats.map_or(0, |stats| stats.rejected()),
            seen: latencies.snapshot(),
            counts: sends.outbox.counts().clone(),
            mails: Mails::read(&dir.join("mails"))?,
        })
    }

    pub(crate) fn print(&self, args: &DemoArgs) -> Outcome {
        if let Some(loaded) = &self.loaded {
            console::line(format!(
                "shop       {} events in {} requests by {} customers, {:.0} events/s",
                count(loaded.events),
                count(loaded.requests),
                count(loaded.customers),
                rate(loaded),
            ));
            if loaded.failed > 0 {
                console::line(format!(
                    "           {} requests were not answered 200",
                    loaded.failed
                ));
            }
        }
        console::line(format!(
            "events     {} accepted, {} duplicate, {} late, {} rejected",
            count(self.accepted),
            count(self.duplicate),
            count(self.seen.late_rows),
            count(self.rejected + self.seen.rejects),
        ));
        console::line(format!("triggers   {} rows", count(self.counts.trigger_rows)));
        console::line(format!("emails     {}", fates(&self.counts, "sent")));
        console::line(format!(
            "mailbox    {} mails, {} of them twice",
            count(self.mails.files),
            self.mails.twice
        ));
        console::line(format!(
            "latency    {}",
            latency("accepted -> trigger row  ", self.seen.to_seal)
        ));
        console::line(format!(
            "           {}",
            latency("accepted -> SMTP accepted", self.seen.to_smtp)
        ));
        if args.json {
            console::line(self.json(args).to_string());
        }
        Ok(())
    }

    fn json(&self, args: &DemoArgs) -> serde_json::Value {
        let ms = |distribution: Distribution| {
            let ms = |ns: u64| f64::from(u32::try_from(ns / 1_000).unwrap_or(u32::MAX)) / 1_000.0;
            json!({
                "count": distribution.count, "p50_ms": ms(distribution.p50),
                "p99_ms": ms(distribution.p99), "max_ms": ms(distribution.max),
            })
        };
        json!({
            "rate": args.rate, "batch": args.batch, "seconds": args.seconds, "speed": args.speed,
            "posted": self.loaded.as_ref().map(|loaded| loaded.events),
            "behind_ms": self.loaded.as_ref().map(|loaded| loaded.behind.as_millis() as u64),
            "accepted": self.accepted, "duplicate": self.duplicate, "late": self.seen.late_rows,
            "rejected": self.rejected + self.seen.rejects,
            "trigger_rows": self.counts.trigger_rows,
            "sent": self.counts.accepted, "not_sent": self.counts.not_sent,
            "in_doubt": self.counts.in_doubt,
            "mails": self.mails.files, "twice": self.mails.twice,
            "accepted_to_trigger_row": ms(self.seen.to_seal),
            "accepted_to_smtp": ms(self.seen.to_smtp),
        })
    }

    /// What must hold in every demo.
    pub(crate) fn check(&self) -> Outcome {
        let counts = &self.counts;
        if self.mails.twice > 0 {
            return Err(Failure::failed(format!("{} mails were sent twice", self.mails.twice)));
        }
        if !counts.conserved() {
            return Err(Failure::failed("trigger rows and their outcomes do not add up"));
        }
        if self.mails.files != counts.accepted {
            return Err(Failure::failed(format!(
                "the mailbox holds {} mails, but {} were reported as accepted",
                self.mails.files, counts.accepted
            )));
        }
        Ok(())
    }
}

fn rate(loaded: &Loaded) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let events = loaded.events as f64;
    events / loaded.wall.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn latency(name: &str, distribution: Distribution) -> String {
    if distribution.count == 0 {
        return format!("{name}  none yet");
    }
    format!(
        "{name}  p50 {:>8}   p99 {:>8}   max {:>8}   ({} rows)",
        milliseconds(distribution.p50),
        milliseconds(distribution.p99),
        milliseconds(distribution.max),
        count(distribution.count),
    )
}

impl Mails {
    /// Counts the files, and the sends that several of them belong to.
    fn read(dir: &Path) -> Outcome<Self> {
        let (mut mails, mut seen) = (Self::default(), HashSet::new());
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "eml") {
                continue;
            }
            mails.files += 1;
            let text = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&text);
            let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
            if !seen.insert(id.unwrap_or_default().trim().to_owned()) {
                mails.twice += 1;
            }
        }
        Ok(mails)
    }
}
