//! The mailbox page.

use std::{fs, path::Path};

use postrider_serve::mailbox_router;
use reqwest::header;
use serde_json::{Value, json};

use crate::harness::{Serving, serving};

const MAIL: &str = "From: Shop <shop@x.example>\r\nTo: Ada <ada@y.example>\r\n\
    Subject: <script>alert(1)</script>\r\nMessage-ID: <one@x>\r\nX-Postrider-Send: gxdp\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nplain <b>text</b>\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<p onclick=\"x()\">rich<script>alert(2)</script></p>\r\n--b--\r\n";

async fn page(files: &[(&str, &str)]) -> (tempfile::TempDir, Serving) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let server = serving(mailbox_router(dir.path().to_owned())).await;
    (dir, server)
}

async fn text(server: &Serving, path: &str) -> String {
    let response = server.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

#[tokio::test]
async fn an_empty_mailbox_says_so() {
    let server = serving(mailbox_router(Path::new("/nonexistent/mails").to_owned())).await;
    assert!(text(&server, "/").await.contains("No mail yet"));
    let listing: Value = server.get("/api/mails").await.json().await.unwrap();
    assert_eq!(listing, json!({"count": 0, "duplicates": 0, "mails": []}));
}

#[tokio::test]
async fn the_list_escapes_everything_and_marks_duplicates() {
    let (_dir, server) = page(&[("1.eml", MAIL), ("2.eml", MAIL)]).await;
    let list = text(&server, "/").await;
    assert!(!list.contains("<script>alert"), "{list}");
    assert!(list.contains("&lt;script&gt;alert(1)"));
    assert!(list.contains("1 duplicate") && list.contains("2 copies"));
    assert!(list.contains("href=\"/mail/1.eml\""));
    let listing: Value = server.get("/api/mails").await.json().await.unwrap();
    let mail = |file: &str| json!({"file": file, "to": "Ada <ada@y.example>", "subject": "<script>alert(1)</script>", "message_id": "one@x"});
    assert_eq!((&listing["count"], &listing["duplicates"]), (&json!(2), &json!(1)));
    assert!(listing["mails"].as_array().unwrap().contains(&mail("1.eml")));
}

#[tokio::test]
async fn a_mail_shows_headers_and_parts_and_runs_nothing() {
    let (_dir, server) = page(&[("1.eml", MAIL)]).await;
    let mail = text(&server, "/mail/1.eml").await;
    for shown in [
        "&lt;script&gt;alert(1)",
        "Ada &lt;ada@y.example&gt;",
        "&lt;one@x&gt;",
        "gxdp",
        "plain &lt;b&gt;text",
        "sandbox=\"allow-popups allow-popups-to-escape-sandbox\"",
    ] {
        assert!(mail.contains(shown), "{shown} in {mail}");
    }
    assert!(!mail.contains("<script>alert") && !mail.contains("onclick"));

    let part = server.get("/mail/1.eml/html").await;
    let policy = part.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    assert!(!policy.contains("allow-scripts") && !policy.contains("allow-same-origin"));
    assert!(part.text().await.unwrap().contains("<p onclick"));

    let raw = server.get("/mail/1.eml/raw").await;
    assert_eq!(raw.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(raw.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(raw.text().await.unwrap(), MAIL);
}

#[tokio::test]
async fn every_page_has_a_policy() {
    let (_dir, server) = page(&[("1.eml", MAIL)]).await;
    for path in
        ["/", "/rows", "/mail/1.eml", "/mail/1.eml/raw", "/mailbox.css", "/mailbox.js", "/no"]
    {
        let response = server.get(path).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
    }
}

#[tokio::test]
async fn nothing_outside_the_mailbox_can_be_read() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("mails");
    fs::create_dir(&dir).unwrap();
    fs::write(outer.path().join("secret.eml"), "Subject: canary\r\n\r\ncanary").unwrap();
    fs::write(dir.join("secret.txt"), "canary").unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret.eml"), dir.join("link.eml")).unwrap();
    let server = serving(mailbox_router(dir)).await;
    for file in [
        "..%2Fsecret.eml",
        "%2e%2e%2fsecret.eml",
        "..%5Csecret.eml",
        "%2Fetc%2Fpasswd",
        "secret.txt",
        "secret.txt%00.eml",
        "link.eml",
        "..",
        ".eml",
    ] {
        for tail in ["", "/raw", "/html"] {
            let response = server.get(&format!("/mail/{file}{tail}")).await;
            let status = response.status().as_u16();
            let body = response.text().await.unwrap();
            assert!(!body.contains("canary"), "{file}{tail}");
            assert!(
                [400, 404].contains(&status) || body.contains("No mail yet"),
                "{file}{tail}: {status}"
            );
        }
    }
    assert!(!text(&server, "/").await.contains("canary"), "links are not followed in the list");
}
