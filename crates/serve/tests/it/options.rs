//! Collectors that can't start.

use std::sync::Arc;

use postrider_core::ErrorKind;
use postrider_serve::{Collector, CollectorLimits, CollectorOptions, WriteKey};
use postrider_store::{KeyRole, Log};

use crate::harness::{options, start};

#[tokio::test]
async fn what_can_not_work_is_refused_with_a_way_out() {
    let running = start().await;
    let open = |change: &dyn Fn(&mut CollectorOptions)| {
        let mut options =
            options(&Log::in_memory(), &Arc::clone(&running.clock), CollectorLimits::default());
        change(&mut options);
        let error = Collector::open(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let key = |role, secret: &str| WriteKey::new(role, secret);
    assert!(open(&|it| it.keys.clear()).contains("add one"));
    assert!(
        open(&|it| it.keys.push(key(KeyRole::Server, ""))).contains("number 2 (from 0) is empty")
    );
    let repeated = open(&|it| it.keys.push(key(KeyRole::Browser, "sk_server")));
    assert!(repeated.contains("number 2") && !repeated.contains("sk_server"), "{repeated}");
    assert!(open(&|it| it.keys.push(key(KeyRole::Unspecified, "x"))).contains("neither"));
    for origin in ["*", "shop.example", "https://shop.example/", "https://*.example", "https://"] {
        assert!(open(&|it| it.origins.push(origin.to_owned())).contains("is not an origin"));
    }
}
