//! `postrider mailbox`.

use std::sync::Arc;

use postrider_core::Clock;
use postrider_engine::SystemClock;
use postrider_mail::Mailbox;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    args::MailboxArgs,
    console,
    interrupt::Interrupts,
    outcome::{Failure, Outcome},
    services,
};

/// Serves until Ctrl-C.
pub(crate) fn run(args: &MailboxArgs) -> Outcome {
    services::block_on(serve(args))?
}

async fn serve(args: &MailboxArgs) -> Outcome {
    let mut interrupts = Interrupts::listen()?;
    let wall: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mailbox = Mailbox::bind(args.smtp, &args.dir, wall).await?;
    let page = TcpListener::bind(args.http).await.map_err(|error| {
        Failure::failed(format!("can't listen on {}: {error}; choose another --http", args.http))
    })?;
    console::line(format!("mailbox  http://{}", page.local_addr()?));
    console::line(format!("smtp     smtp://{}", mailbox.local_addr()));
    console::line(format!("files    {}", args.dir.display()));
    let stop = CancellationToken::new();
    let router = postrider_serve::mailbox_router(args.dir.clone());
    tokio::select! {
        ended = mailbox.run(stop.clone()) => ended?,
        ended = postrider_serve::serve(page, router, stop.clone()) => ended?,
        () = interrupts.next() => {}
    }
    Ok(())
}
