//! The page of the local mailbox: what the SMTP catch-all received, newest first.
//!
//! | path | shows |
//! |---|---|
//! | `/` | the list; it refreshes itself |
//! | `/mail/{file}` | one mail: headers, HTML, text |
//! | `/mail/{file}/html` | its HTML part alone, with scripts and remote content forbidden |
//! | `/mail/{file}/raw` | its source |
//! | `/api/mails` | the list as JSON: `{count, duplicates, mails: [{file, to, subject, message_id}]}` |
//!
//! Mail is hostile input: every text is escaped, HTML parts live in a sandboxed frame under a content
//! security policy that allows nothing, and a file is opened only by a name that is one.

mod folder;
mod mail;
mod page;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use folder::{Folder, Listing};
use mail::{Mail, MailError};
use page::Pages;
use serde::Serialize;

/// The page of the mailbox in `dir`, which need not exist yet.
pub fn mailbox_router(dir: PathBuf) -> Router {
    let mailbox = Mailbox {
        folder: Arc::new(Mutex::new(Folder::new(dir.clone()))),
        dir,
        pages: Arc::new(Pages::new()),
    };
    Router::new()
        .route("/", get(list))
        .route("/rows", get(rows))
        .route("/mail/{file}", get(mail))
        .route("/mail/{file}/html", get(html))
        .route("/mail/{file}/raw", get(raw))
        .route("/api/mails", get(api_mails))
        .route("/mailbox.css", get(async || asset("text/css; charset=utf-8", page::STYLE)))
        .route("/mailbox.js", get(async || asset("text/javascript; charset=utf-8", page::SCRIPT)))
        .fallback(async |State(mailbox): State<Mailbox>| mailbox.oops(&MailError::NoSuchPage))
        .with_state(mailbox)
}

#[derive(Clone)]
struct Mailbox {
    folder: Arc<Mutex<Folder>>,
    dir: PathBuf,
    pages: Arc<Pages>,
}

/// The pages load their own style and script and frame their own HTML parts, nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An HTML part may style itself and show embedded pictures.
const PART_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
     sandbox allow-popups allow-popups-to-escape-sandbox";

/// A source is text.
const RAW_POLICY: &str = "default-src 'none'; sandbox";

impl Mailbox {
    async fn listing(&self) -> Result<Listing, MailError> {
        let folder = Arc::clone(&self.folder);
        blocking(move || folder.lock().unwrap_or_else(PoisonError::into_inner).list()).await
    }

    async fn open(&self, file: String) -> Result<Mail, MailError> {
        let dir = self.dir.clone();
        blocking(move || Mail::open(&dir, &file)).await
    }

    fn oops(&self, error: &MailError) -> Response {
        let status = error.status();
        match self.pages.error(status.as_u16(), &error.to_string()) {
            Ok(page) => answer(status, "text/html; charset=utf-8", PAGE_POLICY, page.into()),
            Err(_) => status.into_response(),
        }
    }

    fn page(&self, page: Result<String, MailError>) -> Response {
        match page {
            Ok(page) => {
                answer(StatusCode::OK, "text/html; charset=utf-8", PAGE_POLICY, page.into())
            }
            Err(error) => self.oops(&error),
        }
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MailError> + Send + 'static,
) -> Result<T, MailError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(MailError::Files(io::Error::other(error))))
}

fn answer(
    status: StatusCode,
    media_type: &'static str,
    policy: &'static str,
    body: Vec<u8>,
) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    (status, headers, body).into_response()
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    answer(StatusCode::OK, media_type, RAW_POLICY, text.as_bytes().to_vec())
}

async fn list(State(mailbox): State<Mailbox>) -> Response {
    let listing = mailbox.listing().await;
    mailbox.page(listing.and_then(|listing| mailbox.pages.list(&listing)))
}

async fn rows(State(mailbox): State<Mailbox>) -> Response {
    let listing = mailbox.listing().await;
    mailbox.page(listing.and_then(|listing| mailbox.pages.rows(&listing)))
}

async fn mail(State(mailbox): State<Mailbox>, Path(file): Path<String>) -> Response {
    let mail = mailbox.open(file).await;
    mailbox.page(mail.and_then(|mail| mailbox.pages.mail(&mail)))
}

async fn html(State(mailbox): State<Mailbox>, Path(file): Path<String>) -> Response {
    let html = mailbox.open(file).await.and_then(|mail| mail.html.ok_or(MailError::NoHtml));
    match html {
        Ok(html) => answer(StatusCode::OK, "text/html; charset=utf-8", PART_POLICY, html.into()),
        Err(error) => mailbox.oops(&error),
    }
}

async fn raw(State(mailbox): State<Mailbox>, Path(file): Path<String>) -> Response {
    match mailbox.open(file).await {
        Ok(mail) => answer(StatusCode::OK, "text/plain; charset=utf-8", RAW_POLICY, mail.raw),
        Err(error) => mailbox.oops(&error),
    }
}

#[derive(Serialize)]
struct ApiListing<'a> {
    count: usize,
    duplicates: usize,
    mails: Vec<ApiMail<'a>>,
}

#[derive(Serialize)]
struct ApiMail<'a> {
    file: &'a str,
    to: &'a str,
    subject: &'a str,
    message_id: &'a str,
}

async fn api_mails(State(mailbox): State<Mailbox>) -> Response {
    match mailbox.listing().await {
        Ok(listing) => {
            let mails = listing.mails.iter().map(|listed| ApiMail {
                file: &listed.summary.file,
                to: &listed.summary.to,
                subject: &listed.summary.subject,
                message_id: &listed.summary.message_id,
            });
            let Listing { count, duplicates, .. } = listing;
            Json(ApiListing { count, duplicates, mails: mails.collect() }).into_response()
        }
        Err(error) => (error.status(), error.to_string()).into_response(),
    }
}
