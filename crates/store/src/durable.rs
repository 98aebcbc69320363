//! Following the end of the durable prefix.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::Lsn;

/// Follows the end of the durable prefix of a log.
///
/// It is a [`watch::Receiver`] whose followers wake in the order in which they began to wait: those of tokio wake in an
/// order that is rolled, so that two runs of a simulation would differ.
#[derive(Debug, Clone)]
pub struct DurableEnd {
    end: watch::Receiver<Lsn>,
    moved: Arc<Notify>,
}

impl DurableEnd {
    /// Where it is.
    pub fn borrow(&self) -> watch::Ref<'_, Lsn> {
        self.end.borrow()
    }

    /// Where it is; from now on only later moves are news.
    pub fn borrow_and_update(&mut self) -> watch::Ref<'_, Lsn> {
        self.end.borrow_and_update()
    }

    /// Whether it moved since it was looked at.
    ///
    /// # Errors
    /// The log is closed or dead.
    pub fn has_changed(&self) -> Result<bool, watch::error::RecvError> {
        self.end.has_changed()
    }

    /// Waits until it is at `end` or behind.
    ///
    /// # Errors
    /// The log is closed or dead, and did not come so far.
    pub async fn reaches(&mut self, end: Lsn) -> Result<(), watch::error::RecvError> {
        while *self.borrow_and_update() < end {
            self.changed().await?;
        }
        Ok(())
    }

    /// Waits until it moves. Cancel-safe.
    ///
    /// # Errors
    /// The log is closed or dead, and all moves were seen.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        loop {
            // What happens from here on wakes it, though it is not waited for yet.
            let moved = self.moved.notified();
            if self.end.borrow_and_update().has_changed() {
                return Ok(());
            }
            self.end.has_changed()?;
            moved.await;
        }
    }
}

/// Moves the end. Dropped, it says that the log has ended.
#[derive(Debug)]
pub(crate) struct Announce {
    /// Gone only while dropping.
    end: Option<watch::Sender<Lsn>>,
    moved: Arc<Notify>,
}

impl Announce {
    /// An end at `end`, and who follows it.
    pub(crate) fn new(end: Lsn) -> (Self, DurableEnd) {
        let (sender, receiver) = watch::channel(end);
        let moved = Arc::new(Notify::new());
        let follower = DurableEnd { end: receiver, moved: Arc::clone(&moved) };
        (Self { end: Some(sender), moved }, follower)
    }

    /// Moves the end to `end`.
    pub(crate) fn move_to(&self, end: Lsn) {
        if let Some(sender) = &self.end {
            sender.send_replace(end);
        }
        self.moved.notify_waiters();
    }
}

impl Drop for Announce {
    fn drop(&mut self) {
        drop(self.end.take());
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Announce;
    use crate::Lsn;

    #[tokio::test]
    async fn a_move_before_the_end_is_seen_before_the_end() {
        let (announce, mut follower) = Announce::new(Lsn(7));
        announce.move_to(Lsn(9));
        drop(announce);
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow(), Lsn(9));
        follower.changed().await.unwrap_err();
    }

    #[tokio::test]
    async fn followers_wake_in_the_order_in_which_they_began_to_wait() {
        let (announce, follower) = Announce::new(Lsn(0));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waits: Vec<_> = (0..50)
            .map(|number| {
                let (mut follower, woken) = (follower.clone(), Arc::clone(&woken));
                tokio::spawn(async move {
                    follower.changed().await.unwrap();
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        announce.move_to(Lsn(1));
        for wait in waits {
            wait.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }
}
