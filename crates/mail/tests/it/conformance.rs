//! What every provider must do. A new provider joins with one line at the end of this file.

use std::{net::SocketAddr, path::Path, sync::Arc};

use postrider_mail::{
    FileProvider, Mailbox, Outcome, Provider, RecordingProvider, SmtpOptions, SmtpProvider,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{ManualClock, NOON, message};

/// The suite for one provider, made by an async function of an empty directory.
macro_rules! provider_conformance {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn accepts_a_message() {
                let dir = TempDir::new().unwrap();
                let provider = $make(dir.path()).await;
                assert!(!provider.name().is_empty());
                let outcome = provider.send(&message(1, "text\r\n")).await;
                assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
            }

            #[tokio::test]
            async fn takes_many_messages_at_once() {
                let dir = TempDir::new().unwrap();
                let provider: Arc<dyn Provider> = $make(dir.path()).await;
                let mut sends = tokio::task::JoinSet::new();
                for number in 0..100 {
                    let provider = Arc::clone(&provider);
                    sends.spawn(async move { provider.send(&message(number, "text\r\n")).await });
                }
                for outcome in sends.join_all().await {
                    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
                }
            }

            #[tokio::test]
            async fn survives_a_dropped_call() {
                let dir = TempDir::new().unwrap();
                let provider = $make(dir.path()).await;
                for polls in 0..20 {
                    let message = message(polls, "text\r\n");
                    let mut call = provider.send(&message);
                    for _ in 0..polls {
                        let polled =
                            tokio::time::timeout(std::time::Duration::ZERO, &mut call).await;
                        if polled.is_ok() {
                            break;
                        }
                    }
                    drop(call);
                }
                let outcome = provider.send(&message(200, "text\r\n")).await;
                assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
            }
        }
    };
}

async fn recording(_: &Path) -> Arc<dyn Provider> {
    Arc::new(RecordingProvider::new("default"))
}

async fn file(dir: &Path) -> Arc<dyn Provider> {
    Arc::new(FileProvider::new("default", dir.join("out")).unwrap())
}

async fn smtp(dir: &Path) -> Arc<dyn Provider> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mailbox = Mailbox::bind(address, dir, ManualClock::at(NOON)).await.unwrap();
    let url = format!("smtp://{}", mailbox.local_addr());
    tokio::spawn(mailbox.run(CancellationToken::new()));
    Arc::new(SmtpProvider::new("default", SmtpOptions::from_url(&url).unwrap()))
}

provider_conformance!(recording_provider, recording);
provider_conformance!(file_provider, file);
provider_conformance!(smtp_provider, smtp);
