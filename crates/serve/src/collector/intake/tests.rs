//! Clients that do not wait for their answer.

use std::{future, sync::Arc};

use axum::{
    body::Body,
    http::{Request, header},
};
use postrider_core::{Clock, ClockTime, Sleep, WorkspaceId};
use postrider_store::{KeyRole, Log};

use super::take;
use crate::collector::{
    Collector, CollectorLimits, CollectorOptions, auth::WriteKey, slice::Endpoint,
};

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> ClockTime {
        ClockTime(0)
    }

    fn sleep_until(&self, _: ClockTime) -> Sleep {
        Box::pin(future::pending())
    }
}

fn request() -> Request<Body> {
    Request::builder()
        .header(header::AUTHORIZATION, "Bearer sk")
        .body(Body::from(r#"{"messageId":"a"}"#))
        .unwrap()
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_tear_its_events_from_the_memory_of_ids() {
    let log = Log::in_memory();
    let collector = Collector::open(CollectorOptions {
        log: log.clone(),
        workspace: WorkspaceId::DEFAULT,
        keys: vec![WriteKey::new(KeyRole::Server, "sk")],
        origins: vec![],
        wall: Arc::new(StoppedClock),
        ids: Arc::new(|| 0),
        limits: CollectorLimits { in_flight: 2, ..CollectorLimits::default() },
    })
    .unwrap();
    let post = || {
        let (parts, body) = request().into_parts();
        take(Arc::clone(&collector.shared), Endpoint::Events, parts, body)
    };
    let before = *log.durable().borrow();
    let mut hung_up = Box::pin(post());
    assert!(futures::poll!(&mut hung_up).is_pending(), "it is being stored");
    drop(hung_up);

    let answer = post().await;
    let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
    let expected = r#"{"success":true,"accepted":0,"duplicate":1,"rejected":[]}"#;
    assert_eq!(body, expected, "and the first copy is durable:");
    assert!(*log.durable().borrow() > before);
    assert_eq!(collector.shared.places.available_permits(), 2);
}
