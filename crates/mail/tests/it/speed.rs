//! Measures what the email half adds to a seal, over real files and sockets. Run by hand, in release:
//! `cargo test --release -p postrider-mail --test it speed -- --ignored --nocapture`

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use postrider_core::{Clock, ClockTime, Sleep};
use postrider_mail::{MailObserver, Mailbox, SendFacts, SmtpOptions, SmtpProvider};
use postrider_store::{Log, LogOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{NOON, counts, options, row, rows, seal, sink, start};

/// Real time, starting at noon.
#[derive(Debug)]
struct RunningClock(Instant);

impl Clock for RunningClock {
    fn now(&self) -> ClockTime {
        ClockTime(NOON + i64::try_from(self.0.elapsed().as_nanos()).unwrap())
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let wait = u64::try_from(time.0 - self.now().0).unwrap_or(0);
        Box::pin(tokio::time::sleep(Duration::from_nanos(wait)))
    }
}

#[derive(Default)]
struct Arrivals(Mutex<Vec<i64>>);

impl MailObserver for Arrivals {
    fn accepted(&self, facts: &SendFacts<'_>) {
        self.0.lock().unwrap().push(facts.answered_at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn latency_and_throughput_on_this_machine() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(LogOptions::new(dir.path().join("log"))).unwrap().log;
    let clock = Arc::new(RunningClock(Instant::now()));
    let address = "127.0.0.1:0".parse().unwrap();
    let mailbox = Mailbox::bind(address, dir.path().join("inbox"), clock.clone()).await.unwrap();
    let url = format!("smtp://{}", mailbox.local_addr());
    tokio::spawn(mailbox.run(CancellationToken::new()));
    let provider = SmtpProvider::new("default", SmtpOptions::from_url(&url).unwrap());
    let arrivals = Arc::new(Arrivals::default());
    let mut opts = options(&log, &sink(&[]), Arc::new(provider));
    opts.max_in_flight = 40;
    opts.wall = clock.clone();
    opts.observer = arrivals.clone();
    let running = start(opts);

    let mut epoch = 0;
    let mut latencies = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(33));
    for number in 0..300 {
        tick.tick().await;
        epoch += 1;
        seal(&log, epoch, &[row(&format!("l{number}"))]).await;
        let sealed = clock.now().0;
        assert!(running.handle.settle().await);
        latencies.push((arrivals.0.lock().unwrap()[number] - sealed) / 1_000);
    }
    latencies.sort_unstable();
    println!("seal durable -> 250: p50 {} us, p99 {} us", latencies[150], latencies[297]);

    let begin = Instant::now();
    for _ in 0..100 {
        epoch += 1;
        seal(&log, epoch, &rows(&format!("t{epoch}-"), 100)).await;
    }
    assert!(running.handle.settle().await);
    let rate = 10_000.0 / begin.elapsed().as_secs_f64();
    println!("throughput: {rate:.0} mails/s");
    running.end().await;
    assert_eq!(counts(&log).accepted, 10_300);
}
