//! Serving a router on a listener until it is told to stop.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::limits::{
    ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX, SHUTDOWN_TIME_MAX,
};

/// Serves `router` on `listener`.
///
/// At most [`CONNECTIONS_MAX`] connections are open; others wait until one ends, which a silent one does after
/// [`HEAD_TIME_MAX`]. After `stop` is cancelled, no connection is accepted, requests in flight are finished for at
/// most [`SHUTDOWN_TIME_MAX`], and the function returns.
///
/// # Errors
/// None by now: a listener that fails is asked again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let bounds = Bounds { connections: CONNECTIONS_MAX, head_time: HEAD_TIME_MAX };
    serve_within(bounds, listener, router, stop).await;
    Ok(())
}

/// What a server takes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    head_time: Duration,
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_buf_size(HEAD_BYTES_MAX);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let connections = GracefulShutdown::new();
    let service = TowerToHyperService::new(router);
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            Some(accepted) = accept(&listener, &places) => accepted,
            else => break,
        };
        let serving = http.serve_connection(TokioIo::new(stream), service.clone());
        let serving = connections.watch(serving);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = sleep(SHUTDOWN_TIME_MAX) => tracing::warn!(
            "requests were still in flight {} s after the stop and are left behind",
            SHUTDOWN_TIME_MAX.as_secs()
        ),
    }
}

/// The next connection, once there is a place for it; `None` if there will never be one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and written at once: waiting to fill a packet would only delay them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "can't switch off Nagle's algorithm on a connection");
                }
                return Some((stream, place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
