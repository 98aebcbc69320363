//! HTTP by hand: one request a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// Status and body.
pub(crate) fn request(
    url: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Posts JSON with a write key.
pub(crate) fn post(url: &str, key: &str, body: &str) -> (u16, String) {
    let key = format!("Bearer {key}");
    request(url, "POST", &[("Authorization", &key), ("Content-Type", "application/json")], body)
}

/// Gets a page.
pub(crate) fn get(url: &str) -> (u16, String) {
    request(url, "GET", &[], "")
}
