//! Reading a request body within bounds of bytes and time.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::{sync::Semaphore, time::timeout};

use super::refusal::Refusal;
use crate::limits::{DISCARD_BYTES_MAX, DISCARD_TIME_MAX};

/// Refuses a body that is compressed; the media type is not looked at, because SDKs lie about it.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::Encoded(String::from_utf8_lossy(encoding.as_bytes()).into_owned()))
        }
        _ => Ok(()),
    }
}

/// Reads the whole body.
pub(super) async fn read(
    body: Body,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let read = timeout(time_max, collect(&mut stream, bytes_max)).await;
    match read {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            discard_stream(stream).await;
            Err(Refusal::BodyTooLarge(bytes_max))
        }
        Ok(Err(error)) => Err(Refusal::BodyBroken(error.to_string())),
        Err(_) => Err(Refusal::BodyTooSlow(time_max.as_secs())),
    }
}

/// Drops a body that nobody wants, so that the client gets to read the answer.
pub(super) async fn discard(places: &Semaphore, headers: &HeaderMap, body: Body) {
    // A client that asked first (RFC 9110 10.1.1) has not sent anything and will not.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    if let Ok(_place) = places.try_acquire() {
        discard_stream(body.into_data_stream()).await;
    }
}

/// `None`: larger than `bytes_max`.
async fn collect(
    stream: &mut BodyDataStream,
    bytes_max: usize,
) -> Result<Option<Bytes>, axum::Error> {
    let Some(first) = stream.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    if first.len() > bytes_max {
        return Ok(None);
    }
    let Some(second) = stream.next().await.transpose()? else { return Ok(Some(first)) };
    let mut bytes = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(part) = next {
        if bytes.len() + part.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(&part);
        next = stream.next().await.transpose()?;
    }
    Ok(Some(bytes.freeze()))
}

async fn discard_stream(mut stream: BodyDataStream) {
    let discarding = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(part)) = stream.next().await {
            match left.checked_sub(part.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    if timeout(DISCARD_TIME_MAX, discarding).await.is_err() {
        tracing::debug!("a client was still sending a refused body; its connection is closed");
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderMap};
    use bytes::Bytes;
    use futures::stream;
    use tokio::sync::Semaphore;

    use super::discard;

    #[tokio::test]
    async fn only_so_many_refused_bodies_are_read() {
        let places = Semaphore::new(1);
        let headers = HeaderMap::new();
        let endless = || Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let mut first = Box::pin(discard(&places, &headers, endless()));
        assert!(futures::poll!(&mut first).is_pending(), "it is being read");
        assert!(futures::poll!(Box::pin(discard(&places, &headers, endless()))).is_ready());
        drop(first);
        assert!(futures::poll!(Box::pin(discard(&places, &headers, endless()))).is_pending());
    }
}
