//! What an event and a send add to memory: the two things that a process remembers for long.

use std::time::Duration;

use postrider_reliability::Campaign;

use super::memory::LiveBytes;
use crate::{
    http::post,
    mailbox::Mailbox,
    process::{Running, Signal, eventually, run_pipeline, within, write},
};

/// Enough that the steps in which tables grow don't decide.
const EVENTS: usize = 200_000;
const SENDS: usize = 20_000;

/// Events in a request.
const CHUNK: usize = 500;

/// Long enough for what was needed for a moment to be freed.
const SETTLING: Duration = Duration::from_secs(3);

const PIPELINE: &str = "
CREATE TABLE visits (user_id TEXT NOT NULL, n BIGINT NOT NULL, mail BOOLEAN NOT NULL) WITH (connector = 'collector');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = 'Visit {{ n }}', from = 'Shop <hi@shop.example>');
INSERT INTO mails SELECT user_id AS recipient_key, CAST(n AS TEXT) AS dedupe_key,
                         user_id || '@customers.example' AS email, n FROM visits WHERE mail;
";

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }}</mj-text></mj-column></mj-section>\
    </mj-body></mjml>";

struct Process<'a> {
    live: &'a LiveBytes,
    running: Running,
    url: String,
    posted: usize,
}

impl Process<'_> {
    /// Posts events; by how many bytes what it has allocated has grown then.
    fn growth(&mut self, events: usize, has_id: bool, mail: bool) -> f64 {
        let before = self.allocated();
        for chunk in 0..events / CHUNK {
            let event = |n| {
                let id =
                    if has_id { format!(r#""messageId":"order-{n:08}","#) } else { String::new() };
                format!(r#"{{{id}"userId":"u{}","n":{n},"mail":{mail}}}"#, n % 40)
            };
            let first = self.posted + chunk * CHUNK;
            let body: Vec<_> = (first..first + CHUNK).map(event).collect();
            let (status, answer) = post(&self.url, "sk", &format!("[{}]", body.join(",")));
            assert_eq!(status, 200, "{answer}");
        }
        self.posted += events;
        self.allocated() - before
    }

    fn allocated(&self) -> f64 {
        within(SETTLING, || false);
        self.live.of(self.running.id()).live
    }
}

/// Adds what each of them takes.
pub(super) fn facts(live: &LiveBytes, campaign: Campaign) -> Campaign {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "shop.sql", PIPELINE);
    write(dir.path(), "t.mjml", TEMPLATE);
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut command = run_pipeline(&file, &dir.path().join("state"));
    command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk", "--smtp", &mailbox.smtp]);
    command.args(["--checkpoint-every", "1", "--keep-seconds", "0", "--housekeeping-ms", "1000"]);
    let running = Running::start(live.watch(command));
    let url = running.err_after("collector") + "/v1/events";
    let mut process = Process { live, running, url, posted: 0 };
    // Until its buffers have the size that they need.
    process.growth(EVENTS, false, false);
    let without_id = process.growth(EVENTS, false, false) / EVENTS as f64;
    let with_id = process.growth(EVENTS, true, false) / EVENTS as f64;
    let before = process.allocated();
    process.growth(SENDS, false, true);
    eventually("all mails", || {
        let count = mailbox.count();
        within(Duration::from_millis(200), || false);
        count == SENDS
    });
    let send = (process.allocated() - before) / SENDS as f64;
    process.running.stop(Signal::TERM);
    campaign
        .fact("bytes_per_event_without_id", without_id.round())
        .fact("bytes_per_event_with_id", with_id.round())
        .fact("bytes_per_send", send.round())
}
