//! What an SMTP provider makes of every way in which a session can go.

use std::{net::SocketAddr, time::Duration};

use postrider_mail::{Outcome, Provider, SmtpOptions, SmtpProvider, SmtpTimeouts};

use crate::support::{CLOSE, CONTENT, SILENCE, Step, message, scripted};

fn provider(address: SocketAddr, query: &str) -> SmtpProvider {
    let mut options = SmtpOptions::from_url(&format!("smtp://{address}{query}")).unwrap();
    let short = Duration::from_millis(200);
    options.timeouts = SmtpTimeouts { connect: short, reply: short, accept: short };
    SmtpProvider::new("default", options)
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Retry { .. } => "retry",
        Outcome::InDoubt { .. } => "in doubt",
    }
}

/// One connection with the first steps of a content server and then these.
async fn outcome_of(kept: usize, then: &[Step]) -> Outcome {
    let script = CONTENT[..kept].iter().chain(then).copied().collect();
    let (address, _server) = scripted(vec![script]).await;
    provider(address, "").send(&message(1, "text\r\n")).await
}

#[tokio::test]
async fn each_failure_has_its_outcome() {
    let cases: &[(usize, &[Step], &str)] = &[
        (5, &["250 queued as 7"], "accepted"),
        (5, &["250-queued\r\n250 as 7"], "accepted"),
        (0, &["554 go away"], "retry"),
        (0, &[CLOSE], "retry"),
        (0, &[SILENCE], "retry"),
        (0, &["nonsense"], "retry"),
        (1, &["502 no", CLOSE], "retry"),
        (2, &["451 later", "250 reset"], "retry"),
        (2, &["550 no such sender", "250 reset"], "rejected"),
        (2, &["530 log in first", "250 reset"], "retry"),
        (2, &["421 closing", CLOSE], "retry"),
        (2, &[CLOSE], "retry"),
        (2, &[SILENCE], "retry"),
        (3, &["550 no such user", "250 reset"], "rejected"),
        (3, &["554 5.7.1 <kim@x.example>: Relay access denied", "250 reset"], "retry"),
        (3, &["550 5.1.1 no such user", "250 reset"], "rejected"),
        (3, &["452 full", "250 reset"], "retry"),
        (3, &["550 no such user", CLOSE], "rejected"),
        (3, &[CLOSE], "retry"),
        (4, &["554 no", "250 reset"], "rejected"),
        (4, &["250 what", CLOSE], "retry"),
        (4, &[CLOSE], "retry"),
        (4, &[SILENCE], "retry"),
        (5, &["554 spam"], "rejected"),
        (5, &["550 5.7.26 not authenticated"], "retry"),
        (5, &["451 later"], "retry"),
        (5, &["421 closing"], "retry"),
        (5, &[CLOSE], "in doubt"),
        (5, &[SILENCE], "in doubt"),
        (5, &["nonsense"], "in doubt"),
        (5, &["354 what"], "in doubt"),
    ];
    for (kept, then, expected) in cases {
        let outcome = outcome_of(*kept, then).await;
        assert_eq!(kind(&outcome), *expected, "after {kept} good steps {then:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn answers_are_kept() {
    assert_eq!(
        outcome_of(5, &["250-2.0.0 ok\r\n250 queued as 7"]).await,
        Outcome::Accepted { response: "250 2.0.0 ok queued as 7".to_owned() }
    );
    let Outcome::Rejected { code, reason } = outcome_of(3, &["550 5.1.1 unknown", "250 ok"]).await
    else {
        panic!("not rejected");
    };
    assert_eq!(code, 550);
    assert!(reason.contains("5.1.1 unknown"), "{reason}");
}

#[tokio::test]
async fn nobody_listening_is_a_retry() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = provider(address, "").send(&message(1, "x\r\n")).await;
    assert_eq!(kind(&outcome), "retry", "{outcome:?}");
}

#[tokio::test]
async fn required_tls_that_is_not_offered_is_a_retry() {
    let (address, server) = scripted(vec![vec!["220 hi", "250 hi"]]).await;
    let outcome = provider(address, "?tls=required").send(&message(1, "secret\r\n")).await;
    assert_eq!(kind(&outcome), "retry", "{outcome:?}");
    assert!(!server.await.unwrap()[0].contains("MAIL"));
}

#[tokio::test]
async fn a_connection_is_used_again_also_after_a_refusal() {
    let steps = [
        &CONTENT[..],
        &["250 one"],
        &["250 ok", "550 no such user", "250 reset"],
        &["250 ok", "250 ok", "354 go", "250 three"],
    ];
    let (address, server) = scripted(vec![steps.concat()]).await;
    let provider = provider(address, "");
    let mut kinds = Vec::new();
    for number in 1..=3 {
        kinds.push(kind(&provider.send(&message(number, "x\r\n")).await));
    }
    drop(provider);
    assert_eq!(kinds, ["accepted", "rejected", "accepted"]);
    assert_eq!(server.await.unwrap()[0].matches("EHLO").count(), 1);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_nothing() {
    for end in [CLOSE, "421 idle for too long", SILENCE] {
        let good = [&CONTENT[..], &["250 one"]].concat();
        let dying = [&good[..], &[end]].concat();
        let (address, server) = scripted(vec![dying, good]).await;
        let provider = provider(address, "");
        for number in 1..=2 {
            let outcome = provider.send(&message(number, "x\r\n")).await;
            assert_eq!(kind(&outcome), "accepted", "after {end}: {outcome:?}");
        }
        drop(provider);
        let heard = server.await.unwrap();
        assert!(heard[1].contains("Subject: 2"), "{heard:?}");
    }
}

#[tokio::test]
async fn dots_are_doubled_on_the_wire() {
    let (address, server) = scripted(vec![[&CONTENT[..], &["250 ok"]].concat()]).await;
    let provider = provider(address, "");
    provider.send(&message(1, ".\r\n..x\r\n.y\r\n")).await;
    drop(provider);
    let heard = server.await.unwrap();
    assert!(heard[0].contains("\r\n..\r\n...x\r\n..y\r\n"), "{heard:?}");
}
