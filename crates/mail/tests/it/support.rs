//! What the tests share: clocks that stand still, sinks, sealed rows, messages, and an SMTP server with a script.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use bytes::Bytes;
use postrider_core::{
    Clock, ClockTime, OptionValue, SendId, Sleep, SubjectId, TableOption, TableOptions, WorkspaceId,
};
use postrider_mail::{
    Dispatcher, DispatcherHandle, DispatcherOptions, EmailSink, MailError, NoObserver, Outgoing,
    Provider, SinkColumn, TemplateLoader,
};
use postrider_store::{
    Counts, EpochSealed, FrameKind, IntentRecord, Log, OutboxReader, ResultRecord, SealKind,
    TriggersRecord,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub(crate) const HOUR: i64 = 3_600_000_000_000;
pub(crate) const NOON: i64 = 1_795_521_600_000_000_000;

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub(crate) struct ManualClock(watch::Sender<i64>);

impl ManualClock {
    pub(crate) fn at(time: i64) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(time)))
    }

    pub(crate) fn advance(&self, by: i64) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> ClockTime {
        ClockTime(*self.0.borrow())
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            if now.wait_for(|now| *now >= time.0).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

struct OneTemplate;

impl TemplateLoader for OneTemplate {
    fn load(&self, _: &str) -> Result<String, String> {
        Ok("<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ name }}</mj-text>\
            <mj-button href=\"https://shop.example/{{ name | urlencode }}\">Cart</mj-button>\
            </mj-column></mj-section></mj-body></mjml>"
            .to_owned())
    }
}

/// A sink `shop.mails` with these options on top of the required ones.
pub(crate) fn sink(more: &[(&str, OptionValue)]) -> Arc<EmailSink> {
    let option = |value| TableOption { value, range: 0..1 };
    let text = |value: &str| option(OptionValue::Text(value.to_owned()));
    let mut options = BTreeMap::from([
        ("template".to_owned(), text("t.mjml")),
        ("subject".to_owned(), text("Your cart, {{ name }}")),
        ("from".to_owned(), text("Shop <hi@shop.example>")),
    ]);
    options.extend(more.iter().map(|(name, value)| ((*name).to_owned(), option(value.clone()))));
    let column = |name: &str| SinkColumn {
        name: name.to_owned(),
        data_type: DataType::Utf8,
        nullable: name == "email" || name == "name",
        range: None,
    };
    let columns = ["recipient_key", "dedupe_key", "email", "name"].map(column);
    let options = TableOptions::new("mails", 0..1, options);
    Arc::new(EmailSink::compile("shop.mails", options, &columns, &OneTemplate).unwrap())
}

/// One trigger row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) dedupe_key: String,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
}

/// A good row.
pub(crate) fn row(key: &str) -> Row {
    Row {
        dedupe_key: key.to_owned(),
        email: Some(format!("{key}@x.example")),
        name: Some(format!("Zoë {key}")),
    }
}

/// Rows `{prefix}0` and so on.
pub(crate) fn rows(prefix: &str, count: usize) -> Vec<Row> {
    (0..count).map(|number| row(&format!("{prefix}{number}"))).collect()
}

/// Puts rows into the log and seals their epoch.
pub(crate) async fn seal(log: &Log, epoch: u64, rows: &[Row]) {
    seal_for(log, "mails", epoch, rows).await;
}

pub(crate) async fn seal_for(log: &Log, sink: &str, epoch: u64, rows: &[Row]) {
    let texts = |pick: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(pick).collect::<StringArray>())
    };
    let batch = RecordBatch::try_from_iter([
        ("recipient_key", texts(|row| Some(&row.dedupe_key))),
        ("dedupe_key", texts(|row| Some(&row.dedupe_key))),
        ("email", texts(|row| row.email.as_deref())),
        ("name", texts(|row| row.name.as_deref())),
    ])
    .unwrap();
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let count = u32::try_from(rows.len()).unwrap();
    let triggers = TriggersRecord {
        pipeline: "shop".to_owned(),
        sink: sink.to_owned(),
        epoch,
        count,
        rows: Bytes::from(stream),
        fire_series: 0,
    };
    let sealed = EpochSealed {
        pipeline: "shop".to_owned(),
        epoch,
        kind: SealKind::Input as i32,
        clock: NOON,
        moved_at: NOON,
        trigger_rows: u64::from(count),
        ..EpochSealed::default()
    };
    let (workspace, subject) = (WorkspaceId::DEFAULT, SubjectId::NONE);
    let frames = vec![triggers.frame(workspace, subject), sealed.frame(workspace, subject)];
    log.append(frames).await.unwrap();
}

/// A running dispatcher.
pub(crate) struct Running {
    pub(crate) handle: DispatcherHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), MailError>>,
}

impl Running {
    /// Stops it and expects a clean end.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Drops it in the middle of whatever it does.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Options for `shop.mails` with one provider, both clocks at noon.
pub(crate) fn options(
    log: &Log,
    sink: &Arc<EmailSink>,
    provider: Arc<dyn Provider>,
) -> DispatcherOptions {
    DispatcherOptions {
        log: log.clone(),
        sinks: HashMap::from([("shop.mails".to_owned(), Arc::clone(sink))]),
        providers: HashMap::from([("default".to_owned(), provider)]),
        wall: ManualClock::at(NOON),
        epoch_clock: ManualClock::at(NOON),
        max_in_flight: 8,
        snapshot_log_bytes: postrider_mail::SNAPSHOT_LOG_BYTES,
        observer: Arc::new(NoObserver),
    }
}

pub(crate) fn start(options: DispatcherOptions) -> Running {
    let dispatcher = Dispatcher::new(options).unwrap();
    let (handle, stop) = (dispatcher.handle(), CancellationToken::new());
    let task = tokio::spawn(dispatcher.run(stop.clone()));
    Running { handle, stop, task }
}

/// What the log says about all rows. The law must hold.
pub(crate) fn counts(log: &Log) -> Counts {
    let mut reader = OutboxReader::tail(&log.reader(log.start())).unwrap();
    while reader.next_frame().unwrap().is_some() {
        let counts = reader.outbox().counts();
        assert!(counts.conserved(), "{counts:?}");
    }
    reader.outbox().counts().clone()
}

/// All intents and all results in the log.
pub(crate) fn attempts(log: &Log) -> (Vec<IntentRecord>, Vec<ResultRecord>) {
    let (mut intents, mut results) = (Vec::new(), Vec::new());
    let mut reader = log.reader(log.start());
    while let Some(frame) = reader.next_frame().unwrap() {
        match frame.kind {
            FrameKind::Intent => intents.push(IntentRecord::decode(&frame.payload).unwrap()),
            FrameKind::SendResult => results.push(ResultRecord::decode(&frame.payload).unwrap()),
            _ => {}
        }
    }
    (intents, results)
}

/// A message with this body, already in wire form.
pub(crate) fn message(number: u8, body: &str) -> Outgoing {
    let address = |text: &str| text.parse::<lettre::Address>().unwrap();
    let envelope = lettre::address::Envelope::new(
        Some(address("hi@shop.example")),
        vec![address("kim@x.example")],
    );
    let send_id = SendId([number; 16]);
    Outgoing {
        send_id,
        attempt: 1,
        envelope: envelope.unwrap(),
        message_id: format!("<{send_id}@shop.example>"),
        bytes: Bytes::from(format!("Subject: {number}\r\n\r\n{body}")),
    }
}

/// What a scripted server does next: answers with these lines, or one of the two words below.
pub(crate) type Step = &'static str;
/// Closes the connection instead of answering.
pub(crate) const CLOSE: Step = "CLOSE";
/// Never answers.
pub(crate) const SILENCE: Step = "SILENCE";
/// The steps up to DATA of a server that is content.
pub(crate) const CONTENT: [Step; 5] = ["220 hi", "250 hi", "250 ok", "250 ok", "354 go"];

/// Serves one connection a script, in order. Each step answers the greeting, then each command, then the message.
/// The task ends with what it was sent, one entry a connection.
pub(crate) async fn scripted(scripts: Vec<Vec<Step>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut heard = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            heard.push(follow(stream, &script).await);
        }
        heard
    });
    (address, task)
}

/// One command, or a message up to its final dot.
async fn hear(reader: &mut (impl AsyncBufReadExt + Unpin), in_message: bool) -> String {
    let mut heard = String::new();
    loop {
        let mut line = String::new();
        let ended = reader.read_line(&mut line).await.unwrap_or(0) == 0;
        heard.push_str(&line);
        if ended || !in_message || line == ".\r\n" {
            return heard;
        }
    }
}

async fn follow(mut stream: TcpStream, script: &[Step]) -> String {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut heard = String::new();
    let mut in_message = false;
    for (number, step) in script.iter().enumerate() {
        if number > 0 {
            heard.push_str(&hear(&mut reader, in_message).await);
        }
        in_message = step.starts_with("354");
        match *step {
            CLOSE => return heard,
            SILENCE => {
                let mut rest = Vec::new();
                drop(reader.read_to_end(&mut rest).await);
                return heard;
            }
            answer => writer.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap(),
        }
    }
    let mut rest = String::new();
    drop(reader.read_to_string(&mut rest).await);
    heard + &rest
}
