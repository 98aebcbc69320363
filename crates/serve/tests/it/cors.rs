//! Which pages may post.

use reqwest::{Method, Response, header};

use crate::harness::{BROWSER_KEY, Running, SERVER_KEY, SHOP, answer_of, code, start};

async fn preflight(running: &Running, origin: &str) -> Response {
    running
        .server
        .request(Method::OPTIONS, "/v1/track")
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type")
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_preflight_allows_listed_origins_exactly() {
    let running = start().await;
    let allowed = preflight(&running, SHOP).await;
    assert_eq!(allowed.status(), 204);
    let headers = allowed.headers();
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], SHOP);
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], "POST");
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], "authorization, content-type");
    assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "600");
    assert_eq!(headers[header::VARY], "origin");
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));

    for origin in [
        "https://shop.example.evil.example",
        "https://evil.shop.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://SHOP.example",
        "null",
        "*",
    ] {
        let refused = preflight(&running, origin).await;
        assert!(!refused.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_can_not_use_a_browser_key() {
    let running = start().await;
    let post = |key, origin| {
        running.post("/v1/track", key, r#"{"anonymousId":"a"}"#).header(header::ORIGIN, origin)
    };
    let response = post(BROWSER_KEY, SHOP).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], SHOP);

    let refused = answer_of(post(BROWSER_KEY, "https://evil.example")).await;
    assert_eq!(code(&refused), (403, "origin_not_allowed"));
    let server = post(SERVER_KEY, "https://evil.example").send().await.unwrap();
    assert_eq!(server.status(), 200, "a server key is a secret, wherever it is used");
    assert!(!server.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test]
async fn a_page_can_read_why_it_was_refused() {
    let running = start().await;
    let request = running.post("/v1/track", "nobody", "{}").header(header::ORIGIN, SHOP);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], SHOP);
}
