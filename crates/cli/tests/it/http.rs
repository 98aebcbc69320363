//! HTTP by hand, one request a connection: a library's client would repeat or pool what a test wants to see break.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::process::DEADLINE;

/// Status and body.
pub(crate) type Answer = (u16, String);

/// Sends one request. An error is a connection that was refused or broke before the answer was complete.
fn request(url: &str, method: &str, headers: &str, body: &str) -> io::Result<Answer> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let length = body.len();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    complete(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn complete(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    length.is_none_or(|length| body.len() == length).then(|| (status, body.to_owned()))
}

/// Posts JSON with a write key to a server that may be killed meanwhile.
pub(crate) fn try_post(url: &str, key: &str, body: &str) -> io::Result<Answer> {
    let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n");
    request(url, "POST", &headers, body)
}

/// Posts JSON with a write key.
pub(crate) fn post(url: &str, key: &str, body: &str) -> Answer {
    try_post(url, key, body).unwrap()
}

/// Gets a page.
pub(crate) fn get(url: &str) -> Answer {
    request(url, "GET", "", "").unwrap()
}

/// Gets a page with a header `Authorization`.
pub(crate) fn get_as(url: &str, authorization: &str) -> Answer {
    request(url, "GET", &format!("Authorization: {authorization}\r\n"), "").unwrap()
}

/// Puts nothing there.
pub(crate) fn put(url: &str) -> Answer {
    request(url, "PUT", "", "").unwrap()
}
