//! Who may post.

use reqwest::{Method, header};

use crate::harness::{BROWSER_KEY, SERVER_KEY, answer_of, code, start};

const PATHS: [&str; 8] = [
    "/v1/batch",
    "/v1/track",
    "/v1/identify",
    "/v1/page",
    "/v1/screen",
    "/v1/group",
    "/v1/alias",
    "/v1/events",
];

#[tokio::test]
async fn every_endpoint_wants_a_known_key_in_either_scheme() {
    let running = start().await;
    for path in PATHS {
        let post = || running.server.request(Method::POST, path).body("{\"batch\":[]}");
        for key in [SERVER_KEY, BROWSER_KEY] {
            assert_eq!(answer_of(post().basic_auth(key, Some(""))).await.0, 200, "{path}");
            assert_eq!(answer_of(post().bearer_auth(key)).await.0, 200, "{path}");
        }
        let none = [
            post(),
            post().basic_auth("", Some(SERVER_KEY)),
            post().header("Authorization", SERVER_KEY),
        ];
        for request in none {
            assert_eq!(code(&answer_of(request).await), (401, "no_write_key"), "{path}");
        }
        for wrong in ["sk_serve", "sk_server1", "SK_SERVER", "sk_browser"] {
            let answer = answer_of(post().bearer_auth(wrong)).await;
            assert_eq!(code(&answer), (401, "unknown_write_key"), "{path} {wrong}");
            assert!(!answer.1.to_string().contains(wrong), "keys are never repeated");
        }
    }
    // In both schemes: all but the batch by the server key; of these, four kinds by the browser key.
    assert_eq!(running.stored().len(), 2 * 7 + 2 * 4);
}

#[tokio::test]
async fn the_challenge_opens_no_login_window() {
    let running = start().await;
    let response =
        running.server.request(Method::POST, "/v1/track").body("{}").send().await.unwrap();
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"postrider\"");
}

#[tokio::test]
async fn the_key_is_checked_before_the_body_is_looked_at() {
    let running = start().await;
    let large = "x".repeat(1024 * 1024 + 1);
    let answer = answer_of(running.post("/v1/track", "nobody", large)).await;
    assert_eq!(code(&answer), (401, "unknown_write_key"), "not 413, and not a reset connection");
}
