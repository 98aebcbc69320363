//! The pipeline that is simulated: a session, a tumbling and a hopping window over pushed events, each with mail behind it.

use std::{collections::HashMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use postrider_connect::{JsonDecoder, JsonOptions};
use postrider_core::{
    DataSink, Diagnostics, PipelineName, Reject, SinkError, SinkPosition, SubjectId, WorkspaceId,
    format_time,
};
use postrider_engine::{Connectors, JournalSource, SourceParts};
use postrider_mail::{EmailSink, SinkColumn, TemplateLoader};
use postrider_plan::{Program, SinkTarget, Table};
use postrider_store::{EventRecord, KeyRole, Log, NewFrame};

use crate::time::SECOND;

/// The name of the pipeline.
pub const PIPELINE: &str = "shop";

/// How far the watermark lags, in nanoseconds.
pub(crate) const DELAY: i64 = 10 * SECOND;

/// The windows of each sink, as the oracle counts them.
pub(crate) const SINKS: [(&str, Window); 3] = [
    ("carts", Window::Session { gap: 60 * SECOND }),
    ("digests", Window::Hop { slide: 90 * SECOND, size: 90 * SECOND }),
    ("trends", Window::Hop { slide: 40 * SECOND, size: 120 * SECOND }),
];

/// A kind of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Sessions.
    Session {
        /// The pause that ends one, in nanoseconds.
        gap: i64,
    },
    /// Hopping windows, or tumbling ones if the two are equal.
    Hop {
        /// Between two starts, in nanoseconds.
        slide: i64,
        /// From start to end, in nanoseconds.
        size: i64,
    },
}

const TABLES: &str = "
CREATE TABLE events (user_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
    WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');
";

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }} visits</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

/// The SQL of the pipeline. Mails about carts are marketing, digests are transactional.
pub fn sql() -> String {
    let insert = |sink: &str, class: &str, window: &str| {
        format!(
            "CREATE TABLE {sink} WITH (connector = 'email', template = 't.mjml', subject = '{{{{ n }}}} visits',
                 from = 'Shop <hi@shop.example>', class = '{class}');
             INSERT INTO {sink} SELECT user_id AS recipient_key,
                 user_id || COALESCE(to_char(opened, '%F %T'), '') AS dedupe_key,
                 user_id || '@customers.example' AS email, opened, n, total
             FROM (SELECT user_id, w.start AS opened, count(*) AS n, sum(v) AS total, {window} AS w
                   FROM events GROUP BY user_id, w);\n"
        )
    };
    [
        TABLES.to_owned(),
        insert("carts", "marketing", "session(INTERVAL '1 minute')"),
        insert("digests", "transactional", "tumble(INTERVAL '90 seconds')"),
        insert("trends", "marketing", "hop(INTERVAL '40 seconds', INTERVAL '2 minutes')"),
    ]
    .concat()
}

/// The pipeline, planned once for many runs.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The program.
    pub program: Arc<Program>,
    /// Its sinks.
    pub sinks: HashMap<String, Arc<EmailSink>>,
}

struct OneTemplate;

impl TemplateLoader for OneTemplate {
    fn load(&self, _: &str) -> Result<String, String> {
        Ok(TEMPLATE.to_owned())
    }
}

impl Shop {
    /// Plans it.
    ///
    /// # Errors
    /// The SQL of this file is wrong.
    pub fn plan() -> Result<Self, String> {
        let name = PipelineName(PIPELINE.to_owned());
        let program = postrider_sql::plan_program(&sql(), name).map_err(|e| e.to_string())?;
        let mut sinks = HashMap::new();
        for query in &program.queries {
            let SinkTarget::Table(table) = &query.sink else { continue };
            let column = |field: &Arc<arrow::datatypes::Field>| SinkColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                nullable: field.is_nullable() && !field.name().ends_with("_key"),
                range: None,
            };
            let columns: Vec<_> = query.plan.schema().fields().iter().map(column).collect();
            let trigger = format!("{PIPELINE}.{}", table.name);
            let options = table.options.clone();
            let sink = EmailSink::compile(&trigger, options, &columns, &OneTemplate)
                .map_err(|found| format!("{found:?}"))?;
            sinks.insert(trigger, Arc::new(sink));
        }
        Ok(Self { program: Arc::new(program), sinks })
    }
}

/// An event of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The sender's id of it.
    pub id: String,
    /// The customer.
    pub user: String,
    /// When it happened (ns); whole seconds.
    pub ts: i64,
    /// A number to be summed.
    pub value: i64,
}

impl Event {
    /// The frame that the collector writes for it.
    pub fn frame(&self, received_at: i64) -> NewFrame {
        let ts = format_time(self.ts);
        let body = format!(r#"{{"user_id":"{}","ts":"{ts}","v":{}}}"#, self.user, self.value);
        let record = EventRecord {
            stream: "default".to_owned(),
            message_id: self.id.clone(),
            role: KeyRole::Server as i32,
            received_at,
            body: Bytes::from(body),
        };
        record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)
    }
}

/// Opens the tables of the pipeline.
pub(crate) struct ShopTables(pub(crate) Log);

impl Connectors for ShopTables {
    fn source(&self, _: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let decoder =
            JsonDecoder::new(schema, JsonOptions { envelope: true }).map_err(Diagnostics)?;
        let source = JournalSource::new(&self.0, "default", false);
        Ok(SourceParts { source: Box::new(source), decoder: Arc::new(decoder) })
    }

    fn sink(&self, _: &Table, _: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Nowhere))
    }

    fn print(&self, _: SchemaRef) -> Box<dyn DataSink> {
        Box::new(Nowhere)
    }

    fn dead_letters(&self, _: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Nowhere))
    }

    fn dead_letter_rows(&self, _: &str, _: &[Reject]) -> Result<RecordBatch, SinkError> {
        Ok(RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())))
    }
}

/// There are no data sinks, and no event is bad.
struct Nowhere;

#[async_trait]
impl DataSink for Nowhere {
    async fn restore(&mut self, _: Option<SinkPosition>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&mut self, _: &RecordBatch) -> Result<(), SinkError> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        Ok(0)
    }
}
