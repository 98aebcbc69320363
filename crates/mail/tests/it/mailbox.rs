//! The mailbox as a server: what is accepted is on disk, byte by byte, and nothing else is.

use std::{net::SocketAddr, path::Path};

use mail_parser::MessageParser;
use postrider_mail::{Mailbox, Outcome, Provider, SmtpOptions, SmtpProvider};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::support::{ManualClock, NOON, message};

async fn mailbox(dir: &Path) -> (SocketAddr, CancellationToken) {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mailbox = Mailbox::bind(address, dir, ManualClock::at(NOON)).await.unwrap();
    let (address, stop) = (mailbox.local_addr(), CancellationToken::new());
    tokio::spawn(mailbox.run(stop.clone()));
    (address, stop)
}

/// The files, in the order of their names.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Sends all of `input` at once, hangs up, and returns what the server said.
async fn talk(address: SocketAddr, input: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(input).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

fn codes(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| &line[..3])
        .collect()
}

#[tokio::test]
async fn an_accepted_message_is_a_file_with_its_envelope() {
    let dir = TempDir::new().unwrap();
    let (address, _stop) = mailbox(dir.path()).await;
    let options = SmtpOptions::from_url(&format!("smtp://{address}")).unwrap();
    let provider = SmtpProvider::new("default", options);
    let sent = message(1, "Dots:\r\n.\r\n..\r\n.x\r\nend\r\n");
    let outcome = provider.send(&sent).await;
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    let files = files(dir.path());
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].0, format!("{NOON}-000000.eml"));
    let envelope = "X-Envelope-From: <hi@shop.example>\r\nX-Envelope-To: <kim@x.example>\r\n";
    // SMTP ends a message with a line end of its own (RFC 5321 section 4.1.1.4), which lettre always adds.
    let expected = [envelope.as_bytes(), &sent.bytes, b"\r\n"].concat();
    assert_eq!(files[0].1, expected);
    let parsed = MessageParser::default().parse(&files[0].1[..]).unwrap();
    assert_eq!(parsed.subject(), Some("1"));
}

#[tokio::test]
async fn pipelined_transactions_are_answered_in_order() {
    let dir = TempDir::new().unwrap();
    let (address, _stop) = mailbox(dir.path()).await;
    let one = "MAIL FROM:<a@b.example> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\n\
               DATA\r\nSubject: \u{fc}\r\n\r\nhi\r\n.\r\n";
    let said = talk(address, format!("EHLO x\r\n{one}{one}QUIT\r\n").as_bytes()).await;
    assert!(
        said.contains("250-PIPELINING\r\n") && said.contains("250-SIZE 10485760\r\n"),
        "{said}"
    );
    let expected =
        ["220", "250", "250", "250", "250", "354", "250", "250", "250", "250", "354", "250", "221"];
    assert_eq!(codes(&said), expected, "{said}");
    let files = files(dir.path());
    assert_eq!(files.len(), 2);
    let text = String::from_utf8(files[1].1.clone()).unwrap();
    assert!(
        text.contains("X-Envelope-To: <e@f.example>\r\nSubject: \u{fc}\r\n\r\nhi\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn no_message_can_be_smuggled_into_another() {
    let dir = TempDir::new().unwrap();
    let (address, _stop) = mailbox(dir.path()).await;
    let smuggled = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nEvil\r\n";
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r"] {
        let input = format!(
            "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhi{end}{smuggled}.\r\nQUIT\r\n"
        );
        talk(address, input.as_bytes()).await;
    }
    let files = files(dir.path());
    assert_eq!(files.len(), 4, "each is one message, and not refused");
    for (_, content) in files {
        let text = String::from_utf8(content).unwrap();
        assert!(text.starts_with("X-Envelope-From: <a@b.example>"), "{text}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let dir = TempDir::new().unwrap();
    let (address, _stop) = mailbox(dir.path()).await;
    let said = talk(address, b"EHLO x\r\nMAIL FROM:<a@b.example> SIZE=10485761\r\nQUIT\r\n").await;
    assert_eq!(codes(&said), ["220", "250", "552", "221"], "{said}");
    let line = [b"x".repeat(70_000).as_slice(), b"\r\n"].concat();
    let said = talk(address, &line).await;
    assert_eq!(codes(&said), ["220", "500"], "{said}");
    let mut input =
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n".to_vec();
    let line = [b"y".repeat(60_000).as_slice(), b"\r\n"].concat();
    input.extend(line.repeat(180));
    input.extend_from_slice(b".\r\n");
    let said = talk(address, &input).await;
    assert_eq!(codes(&said), ["220", "250", "250", "250", "354", "552"], "{said}");
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_broken_connection_leaves_no_file() {
    let dir = TempDir::new().unwrap();
    let (address, _stop) = mailbox(dir.path()).await;
    let input =
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhalf a mess";
    let said = talk(address, input).await;
    assert!(said.contains("354"), "{said}");
    assert!(files(dir.path()).is_empty());
}
