//! The dispatcher over a log in memory: what is sent, what is not, and in which order that is recorded.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use postrider_core::OptionValue;
use postrider_mail::{
    Dispatcher, MailObserver, Mailbox, Outcome, Outgoing, Provider, RecordingProvider, SendFacts,
    SmtpOptions, SmtpProvider,
};
use postrider_store::{FrameKind, IntentRecord, Log, SendOutcome};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{
    HOUR, ManualClock, NOON, Row, attempts, counts, options, row, rows, seal, seal_for, sink, start,
};

fn retry() -> Outcome {
    Outcome::Retry { after: None, reason: "busy".to_owned() }
}

#[tokio::test]
async fn rows_are_sent_or_not_and_every_one_is_counted() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    let change = |key: &str, change: fn(&mut Row)| {
        let mut changed = row(key);
        change(&mut changed);
        changed
    };
    let epoch = [
        row("a"),
        row("b"),
        row("a"),
        change("c", |row| row.email = None),
        change("d", |row| row.email = Some("nobody".to_owned())),
        change("e", |row| row.email = Some("zoë@x.example".to_owned())),
        change("f", |row| row.name = None),
        change("", |_| {}),
    ];
    seal(&log, 1, &epoch).await;
    assert!(running.handle.settle().await);
    seal(&log, 2, &[row("b"), row("g")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    let counts = counts(&log);
    assert_eq!((counts.trigger_rows, counts.accepted, counts.pending()), (10, 3, 0));
    let reasons: Vec<_> =
        counts.not_sent.iter().map(|(word, rows)| (word.as_str(), *rows)).collect();
    assert_eq!(
        reasons,
        [
            ("bad_address", 1),
            ("duplicate", 2),
            ("missing_address", 1),
            ("missing_key", 1),
            ("needs_smtputf8", 1),
            ("render_error", 1),
        ]
    );
    // Attempts run at once, so their order is nobody's promise.
    let mut recipients: Vec<_> =
        provider.calls().iter().map(|call| call.envelope.to()[0].to_string()).collect();
    recipients.sort();
    assert_eq!(recipients, ["a@x.example", "b@x.example", "g@x.example"]);
}

#[tokio::test]
async fn a_row_that_was_not_sent_does_not_block_a_better_one() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    let unknown = Row { email: None, ..row("a") };
    seal(&log, 1, &[unknown, row("a"), row("a")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    let counts = counts(&log);
    assert_eq!((counts.accepted, counts.not_sent_total()), (1, 2));
}

#[tokio::test]
async fn stale_rows_are_not_sent() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::new("default"));
    let mut late = options(&log, &sink(&[("ttl", OptionValue::Interval(HOUR))]), provider.clone());
    let clock = ManualClock::at(NOON + HOUR);
    late.epoch_clock = clock.clone();
    let running = start(late);
    seal(&log, 1, &[row("a")]).await;
    assert!(running.handle.settle().await);
    clock.advance(1);
    seal(&log, 2, &[row("b")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(counts(&log).accepted, 1);
    assert_eq!(counts(&log).not_sent.get("expired"), Some(&1));
}

/// Looks into the log when it is called.
#[derive(Debug)]
struct Witness {
    log: Log,
    seen: Mutex<HashSet<String>>,
}

#[async_trait]
impl Provider for Witness {
    fn name(&self) -> &str {
        "default"
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        let mut reader = self.log.reader(self.log.start());
        let mut intended = false;
        while let Some(frame) = reader.next_frame().unwrap() {
            intended |= frame.kind == FrameKind::Intent
                && IntentRecord::decode(&frame.payload).unwrap().send() == message.send_id;
        }
        assert!(intended, "called before the intent was durable");
        self.seen.lock().unwrap().insert(message.message_id.clone());
        Outcome::Accepted { response: String::new() }
    }
}

#[tokio::test]
async fn the_intent_is_durable_before_the_provider_is_called() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(postrider_store::LogOptions::new(dir.path())).unwrap().log;
    let witness = Arc::new(Witness { log: log.clone(), seen: Mutex::default() });
    let running = start(options(&log, &sink(&[]), witness.clone()));
    seal(&log, 1, &rows("a", 50)).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(witness.seen.lock().unwrap().len(), 50);
    assert_eq!(counts(&log).accepted, 50);
    log.close().await;
}

/// Knows how many calls are open.
#[derive(Debug, Default)]
struct Crowded {
    open: Mutex<(usize, usize)>,
}

#[async_trait]
impl Provider for Crowded {
    fn name(&self) -> &str {
        "default"
    }

    async fn send(&self, _: &Outgoing) -> Outcome {
        {
            let mut open = self.open.lock().unwrap();
            open.0 += 1;
            open.1 = open.1.max(open.0);
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.open.lock().unwrap().0 -= 1;
        Outcome::Accepted { response: String::new() }
    }
}

#[tokio::test]
async fn sends_run_at_once_but_not_too_many() {
    let log = Log::in_memory();
    let crowded = Arc::new(Crowded::default());
    let running = start(options(&log, &sink(&[]), crowded.clone()));
    seal(&log, 1, &rows("a", 100)).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(*crowded.open.lock().unwrap(), (0, 8));
    assert_eq!(counts(&log).accepted, 100);
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_with_the_same_message() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::answering("default", [retry(), retry()]));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&[]), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    seal(&log, 1, &[row("a")]).await;
    for _ in 0..3 {
        assert!(running.handle.settle().await);
        clock.advance(HOUR);
    }
    let settled = async {
        while provider.calls().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap();
    assert!(running.handle.settle().await);
    running.end().await;
    let calls = provider.calls();
    assert_eq!(calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(calls.iter().all(|call| call.bytes == calls[0].bytes));
    let (intents, results) = attempts(&log);
    assert_eq!(intents.len(), 3);
    assert!(intents.iter().all(|intent| intent.message_hash == intents[0].message_hash));
    let outcomes: Vec<_> = results.iter().map(|result| result.outcome()).collect();
    assert_eq!(outcomes, [SendOutcome::Retry, SendOutcome::Retry, SendOutcome::Accepted]);
}

#[tokio::test]
async fn a_definite_failure_is_tried_again_until_it_is_none() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::answering("default", vec![retry(); 50]));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&[]), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    seal(&log, 1, &[row("a")]).await;
    let ended = async {
        while counts(&log).accepted == 0 {
            clock.advance(HOUR);
            assert!(running.handle.settle().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    running.end().await;
    assert_eq!(provider.calls().len(), 51);
    assert_eq!(counts(&log).rejected, 0);
}

#[tokio::test]
async fn a_mail_in_doubt_that_grows_stale_stays_in_doubt() {
    let log = Log::in_memory();
    let class = [("class", OptionValue::Text("transactional".to_owned()))];
    let doubt = Outcome::InDoubt { reason: "silence".to_owned() };
    let provider = Arc::new(RecordingProvider::answering("default", [doubt]));
    let (wall, epoch) = (ManualClock::at(NOON), ManualClock::at(NOON));
    let mut opts = options(&log, &sink(&class), provider.clone());
    (opts.wall, opts.epoch_clock) = (wall.clone(), epoch.clone());
    let running = start(opts);
    seal(&log, 1, &[row("a")]).await;
    assert!(running.handle.settle().await);
    epoch.advance(25 * HOUR);
    for _ in 0..5 {
        wall.advance(HOUR);
        assert!(running.handle.settle().await);
    }
    running.end().await;
    assert_eq!((counts(&log).in_doubt, counts(&log).not_sent_total()), (1, 0));
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_row_that_grows_stale_between_attempts_is_dropped() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::answering("default", [retry()]));
    let (wall, epoch) = (ManualClock::at(NOON), ManualClock::at(NOON));
    let mut opts = options(&log, &sink(&[]), provider.clone());
    (opts.wall, opts.epoch_clock) = (wall.clone(), epoch.clone());
    let running = start(opts);
    seal(&log, 1, &[row("a")]).await;
    assert!(running.handle.settle().await);
    epoch.advance(25 * HOUR);
    let ended = async {
        while counts(&log).not_sent_total() == 0 {
            wall.advance(HOUR);
            assert!(running.handle.settle().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    running.end().await;
    assert_eq!(counts(&log).not_sent.get("expired"), Some(&1));
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn rows_of_other_sinks_stay_pending() {
    let log = Log::in_memory();
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    seal_for(&log, "other", 1, &[row("a")]).await;
    seal(&log, 2, &[row("b")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    let counts = counts(&log);
    assert_eq!((counts.accepted, counts.undecided), (1, 1));
}

#[tokio::test]
async fn a_panic_in_a_provider_is_in_doubt() {
    #[derive(Debug)]
    struct Panics;
    #[async_trait]
    impl Provider for Panics {
        fn name(&self) -> &str {
            "default"
        }
        async fn send(&self, _: &Outgoing) -> Outcome {
            panic!("on purpose")
        }
    }
    let log = Log::in_memory();
    let running = start(options(&log, &sink(&[]), Arc::new(Panics)));
    seal(&log, 1, &[row("a")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(counts(&log).in_doubt, 1);
}

#[tokio::test]
async fn a_missing_provider_is_found_at_the_start() {
    let log = Log::in_memory();
    let mut opts = options(&log, &sink(&[]), Arc::new(RecordingProvider::new("other")));
    opts.providers.clear();
    let error = Dispatcher::new(opts).unwrap_err();
    assert!(error.to_string().contains("provider 'default'"), "{error}");
}

#[derive(Default)]
struct Tally(Mutex<Vec<String>>);

impl MailObserver for Tally {
    fn accepted(&self, facts: &SendFacts<'_>) {
        let line = format!("{} {} {}", facts.trigger, facts.attempt, facts.moved_at - NOON);
        self.0.lock().unwrap().push(line);
    }

    fn rejected(&self, facts: &SendFacts<'_>) {
        self.0.lock().unwrap().push(format!("{} rejected", facts.trigger));
    }

    fn in_doubt(&self, trigger: &str) {
        self.0.lock().unwrap().push(format!("{trigger} in doubt"));
    }

    fn not_sent(&self, trigger: &str, reason: &str) {
        self.0.lock().unwrap().push(format!("{trigger} {reason}"));
    }
}

#[tokio::test]
async fn metrics_are_told() {
    let log = Log::in_memory();
    let tally = Arc::new(Tally::default());
    let mut opts = options(&log, &sink(&[]), Arc::new(RecordingProvider::new("default")));
    opts.observer = tally.clone();
    let running = start(opts);
    // Rows that were sealed before the start have no latency worth telling.
    assert!(running.handle.settle().await);
    seal(&log, 1, &[row("a"), row("a")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    let mut told = tally.0.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, ["shop.mails 1 0", "shop.mails duplicate"]);
}

#[tokio::test]
async fn a_refusal_of_the_second_attempt_ends_no_doubt_about_the_first() {
    let log = Log::in_memory();
    let class = [("class", OptionValue::Text("transactional".to_owned()))];
    let doubt = Outcome::InDoubt { reason: "silence".to_owned() };
    let refusal = Outcome::Rejected { code: 550, reason: "unknown".to_owned() };
    let provider = Arc::new(RecordingProvider::answering("default", [doubt, refusal]));
    let (clock, tally) = (ManualClock::at(NOON), Arc::new(Tally::default()));
    let mut opts = options(&log, &sink(&class), provider.clone());
    (opts.wall, opts.observer) = (clock.clone(), tally.clone());
    let running = start(opts);
    seal(&log, 1, &[row("a")]).await;
    let ended = async {
        while provider.calls().len() < 2 {
            assert!(running.handle.settle().await);
            clock.advance(HOUR);
            tokio::task::yield_now().await;
        }
        assert!(running.handle.settle().await);
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    running.end().await;
    assert_eq!((counts(&log).in_doubt, counts(&log).rejected), (1, 0));
    assert_eq!(*tally.0.lock().unwrap(), ["shop.mails in doubt", "shop.mails in doubt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_goes_through_smtp_into_the_mailbox_once_each() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(postrider_store::LogOptions::new(dir.path().join("log"))).unwrap().log;
    let inbox = dir.path().join("inbox");
    let mailbox =
        Mailbox::bind("127.0.0.1:0".parse().unwrap(), &inbox, ManualClock::at(NOON)).await.unwrap();
    let url = format!("smtp://{}", mailbox.local_addr());
    let serve = CancellationToken::new();
    let server = tokio::spawn(mailbox.run(serve.clone()));
    let provider = SmtpProvider::new("default", SmtpOptions::from_url(&url).unwrap());
    let mut opts = options(&log, &sink(&[]), Arc::new(provider));
    opts.max_in_flight = 40;
    let running = start(opts);
    for epoch in 0..10 {
        seal(&log, epoch + 1, &rows(&format!("e{epoch}-"), 50)).await;
    }
    assert!(running.handle.settle().await);
    running.end().await;
    serve.cancel();
    server.await.unwrap().unwrap();
    let counts = counts(&log);
    assert_eq!((counts.accepted, counts.trigger_rows), (500, 500));
    let mut ids = HashSet::new();
    for entry in std::fs::read_dir(&inbox).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mail = mail_parser::MessageParser::default().parse(&bytes[..]).unwrap();
        assert!(ids.insert(mail.message_id().unwrap().to_owned()));
        assert!(mail.subject().unwrap().starts_with("Your cart, Zoë e"), "{:?}", mail.subject());
    }
    assert_eq!(ids.len(), 500);
    log.close().await;
}
