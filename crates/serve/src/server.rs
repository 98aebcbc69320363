//! Serving a router on a listener until it is told to stop.

use std::io;

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::limits::SHUTDOWN_TIME_MAX;

/// Serves `router` on `listener`.
///
/// After `stop` is cancelled, no connection is accepted, requests in flight are finished for at
/// most [`SHUTDOWN_TIME_MAX`], and the function returns.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    // Answers are small and written at once: waiting to fill a packet would only delay them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "can't switch off Nagle's algorithm on a connection");
        }
    });
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let grace_is_over = async {
        stop.cancelled().await;
        tokio::time::sleep(SHUTDOWN_TIME_MAX).await;
    };
    tokio::select! {
        result = serving.into_future() => result,
        () = grace_is_over => {
            tracing::warn!(
                "requests were still in flight {} s after the stop and are left behind",
                SHUTDOWN_TIME_MAX.as_secs()
            );
            Ok(())
        }
    }
}
