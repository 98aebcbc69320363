//! Serves the mailbox page of a directory of `.eml` files, to look at it:
//! `cargo run -p postrider-serve --example mailbox -- DIR [PORT]`.

use std::{env, error::Error, path::PathBuf};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let port = arguments.next().map_or(Ok(8025), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let router = postrider_serve::mailbox_router(dir);
    Ok(postrider_serve::serve(listener, router, CancellationToken::new()).await?)
}
