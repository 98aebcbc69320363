//! `--verify`: the expected trigger rows, computed again without the engine, compared as multisets.
//!
//! From the log come the accepted events as received and the journaled epochs: which events each epoch
//! held, and how far the watermark was. A naive simulation, one event after the other, finds which
//! events were late and which belong together; plain DataFusion in batch computes the rows. None of
//! the engine's windows, decoders or accumulator stores takes part.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array},
    util::display::{ArrayFormatter, FormatOptions},
};
use arrow_ipc::reader::StreamReader;
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use postrider_store::{EpochSealed, EventRecord, FrameKind, Log, Lsn, TriggersRecord};
use serde_json::Value;

use super::shop::MINUTE;
use crate::{
    console::{self, count},
    outcome::{Failure, Outcome},
};

/// The session gap of the pipeline.
const GAP: i64 = 60 * MINUTE;

/// The rows that abandoned carts should give. `session` is the simulation's.
const EXPECTED: &str = "
    SELECT user_id, 'cart:' || coalesce(last_value(cart_id ORDER BY ts), ''),
           to_timestamp_nanos(max(ts)) + INTERVAL '1 hour',
           last_value(email ORDER BY ts), last_value(first_name ORDER BY ts),
           last_value(cart_id ORDER BY ts), last_value(product ORDER BY ts),
           last_value(items ORDER BY ts), last_value(cart_value ORDER BY ts)
    FROM events GROUP BY user_id, session
    HAVING last_value(items ORDER BY ts) > 0";

/// What was found.
pub(crate) struct Verdict {
    missing: usize,
    unexpected: usize,
    late: u64,
    late_reported: u64,
}

impl Verdict {
    /// An error if anything differs.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.missing + self.unexpected == 0 && self.late == self.late_reported {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "verify: {} expected trigger rows are missing, {} are unexpected; {} rows were late, {} were reported",
            self.missing, self.unexpected, self.late, self.late_reported
        )))
    }
}

/// One accepted event, parsed without the engine.
struct Event {
    lsn: u64,
    body: Value,
    ts: i64,
}

struct Journal {
    events: Vec<Event>,
    seals: Vec<EpochSealed>,
    rows: Vec<String>,
}

/// Recomputes and compares.
pub(crate) async fn verify(log: &Log) -> Outcome<Verdict> {
    let journal = read(log)?;
    let accepted = journal.events.len();
    let simulated = simulate(&journal);
    let late = simulated.late;
    let expected = expected_rows(simulated).await?;
    let mut difference: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &expected {
        *difference.entry(row).or_default() += 1;
    }
    for row in &journal.rows {
        *difference.entry(row).or_default() -= 1;
    }
    let sum = |sign: i64| {
        difference.values().map(|n| usize::try_from(n * sign).unwrap_or(0)).sum::<usize>()
    };
    let verdict = Verdict {
        missing: sum(1),
        unexpected: sum(-1),
        late,
        late_reported: journal.seals.iter().map(|seal| seal.late_rows).sum(),
    };
    let word = if verdict.outcome().is_ok() { "equal" } else { "DIFFERENT" };
    console::line(format!(
        "verify     {word}: {} trigger rows, {} expected of {} accepted events in {} epochs, {} late by the journal",
        count(journal.rows.len() as u64),
        count(expected.len() as u64),
        count(accepted as u64),
        count(journal.seals.len() as u64),
        count(late),
    ));
    Ok(verdict)
}

fn damaged(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("verify can't read the log: {error}"))
}

fn read(log: &Log) -> Outcome<Journal> {
    if log.start() > Lsn::ZERO {
        return Err(damaged("its beginning was deleted; verify a demo from its start"));
    }
    let (mut events, mut seals, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = log.reader(log.start());
    while let Some(frame) = reader.next_frame()? {
        match frame.kind {
            FrameKind::Event => {
                let record = EventRecord::decode(&frame.payload).map_err(damaged)?;
                let body: Value = serde_json::from_slice(&record.body).map_err(damaged)?;
                let ts = body["timestamp"].as_str().unwrap_or_default();
                let ts = chrono::DateTime::parse_from_rfc3339(ts).map_err(damaged)?;
                let ts = ts.timestamp_nanos_opt().unwrap_or_default();
                events.push(Event { lsn: frame.lsn.0, body, ts });
            }
            FrameKind::EpochSealed => {
                seals.push(EpochSealed::decode(&frame.payload).map_err(damaged)?);
            }
            FrameKind::Triggers => {
                let record = TriggersRecord::decode(&frame.payload).map_err(damaged)?;
                let reader = StreamReader::try_new(record.rows.as_ref(), None).map_err(damaged)?;
                for batch in reader {
                    rows.extend(texts(&batch.map_err(damaged)?)?);
                }
            }
            _ => {}
        }
    }
    Ok(Journal { events, seals, rows })
}

/// The cart events that count, each with the number of its session.
#[derive(Default)]
struct Simulated {
    rows: Vec<(usize, u64)>,
    events: Vec<Event>,
    late: u64,
}

#[derive(Debug, Clone)]
struct OpenSession {
    number: u64,
    first: i64,
    last: i64,
}

/// Goes through the journal event by event, epoch by epoch.
fn simulate(journal: &Journal) -> Simulated {
    let mut open: BTreeMap<&str, Vec<OpenSession>> = BTreeMap::new();
    let mut renamed: Vec<u64> = Vec::new();
    let (mut late, mut placed, mut closed) = (0, Vec::new(), Vec::new());
    let (mut next_event, mut watermark) = (0, i64::MIN);
    for seal in &journal.seals {
        let end = seal.sources.first().map_or(0, |source| source.end_offset);
        while let Some(event) = journal.events.get(next_event).filter(|event| event.lsn < end) {
            let index = next_event;
            next_event += 1;
            let kind = event.body["event"].as_str().unwrap_or_default();
            if !matches!(kind, "Cart Updated" | "Checkout Started" | "Order Completed") {
                continue;
            }
            let sessions =
                open.entry(event.body["userId"].as_str().unwrap_or_default()).or_default();
            let (joined, apart): (Vec<_>, Vec<_>) = sessions
                .drain(..)
                .partition(|s| event.ts <= s.last + GAP && event.ts + GAP >= s.first);
            *sessions = apart;
            if joined.is_empty() && event.ts + GAP - 1 <= watermark {
                late += 1;
                continue;
            }
            let number = renamed.len() as u64;
            renamed.push(number);
            let mut session = OpenSession { number, first: event.ts, last: event.ts };
            for other in joined {
                session.first = session.first.min(other.first);
                session.last = session.last.max(other.last);
                renamed[other.number as usize] = number;
            }
            placed.push((index, number));
            sessions.push(session);
        }
        watermark = seal.watermark.max(watermark);
        for sessions in open.values_mut() {
            let (done, left): (Vec<_>, Vec<_>) =
                sessions.drain(..).partition(|session| session.last + GAP - 1 <= watermark);
            closed.extend(done.into_iter().map(|session| session.number));
            *sessions = left;
        }
    }
    let final_number = |mut number: u64| {
        while renamed[number as usize] != number {
            number = renamed[number as usize];
        }
        number
    };
    let closed: std::collections::HashSet<u64> = closed.into_iter().collect();
    let rows = placed.into_iter().map(|(index, number)| (index, final_number(number)));
    let rows = rows.filter(|(_, session)| closed.contains(session)).collect();
    Simulated { rows, late, ..Simulated::default() }.with(journal)
}

impl Simulated {
    fn with(mut self, journal: &Journal) -> Self {
        let copy = |index: usize| {
            let event = &journal.events[index];
            Event { lsn: event.lsn, body: event.body.clone(), ts: event.ts }
        };
        self.events = self.rows.iter().map(|(index, _)| copy(*index)).collect();
        self
    }
}

async fn expected_rows(simulated: Simulated) -> Outcome<Vec<String>> {
    let property = |name: &'static str| {
        move |event: &Event| event.body["properties"][name].as_str().map(str::to_owned)
    };
    let text = |value: &dyn Fn(&Event) -> Option<String>| {
        Arc::new(simulated.events.iter().map(value).collect::<StringArray>()) as ArrayRef
    };
    let items = |event: &Event| match event.body["event"].as_str() {
        Some("Order Completed") => Some(0),
        _ => event.body["properties"]["item_count"].as_i64(),
    };
    let sessions = simulated.rows.iter().map(|(_, session)| *session);
    let values = simulated.events.iter().map(|e| e.body["properties"]["cart_value"].as_f64());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", text(&|event| event.body["userId"].as_str().map(str::to_owned))),
        ("session", Arc::new(UInt64Array::from_iter_values(sessions))),
        ("ts", Arc::new(Int64Array::from_iter_values(simulated.events.iter().map(|e| e.ts)))),
        ("email", text(&property("email"))),
        ("first_name", text(&property("first_name"))),
        ("cart_id", text(&property("cart_id"))),
        ("product", text(&property("product"))),
        ("items", Arc::new(simulated.events.iter().map(items).collect::<Int64Array>())),
        ("cart_value", Arc::new(values.collect::<Float64Array>())),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    );
    let batch = batch.map_err(|error| Failure::failed(error.to_string()))?;
    let context = SessionContext::new();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    context.register_table("events", Arc::new(table))?;
    let batches = context.sql(EXPECTED).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(texts(batch)?);
    }
    Ok(rows)
}

/// Each row as one text, for comparing.
fn texts(batch: &RecordBatch) -> Outcome<Vec<String>> {
    let failed = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(failed)?;
    Ok((0..batch.num_rows())
        .map(|row| columns.iter().map(|c| format!("{}\u{1f}", c.value(row))).collect())
        .collect())
}
