//! The list of a mailbox directory.
//!
//! A mail's file is written once and then never changes, so its head is read once: a list of
//! thousands of mails costs one look into the directory.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::mail::{MailError, Summary, is_mail_file};
use crate::limits::{MAILBOX_HEAD_BYTES_MAX, MAILBOX_LIST_MAX};

/// A directory of mails, and what is known of them.
pub(super) struct Folder {
    dir: PathBuf,
    known: HashMap<String, Known>,
    /// How many mails have each Message-ID.
    message_ids: HashMap<String, usize>,
    /// Mails whose Message-ID another mail has, counted once a surplus mail.
    duplicates: usize,
    looks: u64,
}

struct Known {
    summary: Arc<Summary>,
    stamp: Stamp,
    /// Two looks saw the same stamp: nobody is writing the file any more.
    is_complete: bool,
    /// The last look that saw it.
    look: u64,
}

/// What changes while a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: SystemTime,
}

/// What the list shows.
pub(super) struct Listing {
    /// All mails.
    pub(super) count: usize,
    /// Surplus mails: those that repeat the Message-ID of another.
    pub(super) duplicates: usize,
    /// The newest mails, newest first.
    pub(super) mails: Vec<Listed>,
}

/// One line of the list.
pub(super) struct Listed {
    pub(super) summary: Arc<Summary>,
    /// How many mails have its Message-ID.
    pub(super) copies: usize,
}

impl Folder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, known: HashMap::new(), message_ids: HashMap::new(), duplicates: 0, looks: 0 }
    }

    /// Looks into the directory. One that does not exist is empty.
    pub(super) fn list(&mut self) -> Result<Listing, MailError> {
        self.looks += 1;
        match fs::read_dir(&self.dir) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(MailError::Files)?.file_name();
                    if let Some(name) = name.to_str().filter(|name| is_mail_file(name)) {
                        self.look_at(name)?;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(MailError::Files(error)),
        }
        self.forget_removed();
        Ok(self.listing())
    }

    fn look_at(&mut self, name: &str) -> Result<(), MailError> {
        if let Some(known) = self.known.get_mut(name).filter(|known| known.is_complete) {
            known.look = self.looks;
            return Ok(());
        }
        let path = self.dir.join(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(MailError::Files(error)),
        };
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let stamp = Stamp { bytes: metadata.len(), modified };
        if let Some(known) = self.known.get_mut(name).filter(|known| known.stamp == stamp) {
            known.is_complete = true;
            known.look = self.looks;
            return Ok(());
        }
        let mut head = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => file.take(MAILBOX_HEAD_BYTES_MAX).read_to_end(&mut head),
            Err(error) => Err(error),
        }
        .map_err(MailError::Files)?;
        let summary = Arc::new(Summary::of(name, &head, modified));
        self.forget(name);
        self.remember(name, summary, stamp);
        Ok(())
    }

    fn remember(&mut self, name: &str, summary: Arc<Summary>, stamp: Stamp) {
        if !summary.message_id.is_empty() {
            let copies = self.message_ids.entry(summary.message_id.clone()).or_default();
            *copies += 1;
            self.duplicates += usize::from(*copies > 1);
        }
        let known = Known { summary, stamp, is_complete: false, look: self.looks };
        self.known.insert(name.to_owned(), known);
    }

    fn forget(&mut self, name: &str) {
        let Some(known) = self.known.remove(name) else { return };
        if let Some(copies) = self.message_ids.get_mut(&known.summary.message_id) {
            self.duplicates -= usize::from(*copies > 1);
            *copies -= 1;
            if *copies == 0 {
                self.message_ids.remove(&known.summary.message_id);
            }
        }
    }

    fn forget_removed(&mut self) {
        let removed: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.look != self.looks)
            .map(|(name, _)| name.clone())
            .collect();
        for name in removed {
            self.forget(&name);
        }
    }

    fn listing(&self) -> Listing {
        let mut newest: Vec<_> = self.known.values().map(|known| &known.summary).collect();
        let newest_first = |a: &&Arc<Summary>, b: &&Arc<Summary>| {
            b.received_at.cmp(&a.received_at).then_with(|| b.file.cmp(&a.file))
        };
        if newest.len() > MAILBOX_LIST_MAX {
            newest.select_nth_unstable_by(MAILBOX_LIST_MAX, newest_first);
            newest.truncate(MAILBOX_LIST_MAX);
        }
        newest.sort_unstable_by(newest_first);
        let mails = newest.into_iter().map(|summary| Listed {
            copies: self.message_ids.get(&summary.message_id).copied().unwrap_or(1),
            summary: Arc::clone(summary),
        });
        Listing { count: self.known.len(), duplicates: self.duplicates, mails: mails.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Folder;

    fn mail(message_id: &str) -> String {
        format!("Message-ID: <{message_id}>\r\nTo: a@b.example\r\nSubject: Hi\r\n\r\nHi\r\n")
    }

    #[test]
    fn mails_come_go_and_are_counted_by_message_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut folder = Folder::new(path("new"));
        assert_eq!(folder.list().unwrap().count, 0, "a directory that does not exist yet");

        let mut folder = Folder::new(dir.path().to_owned());
        for (name, id) in [("1.eml", "a"), ("2.eml", "b"), ("3.eml", "a"), (".4.eml", "a")] {
            fs::write(path(name), mail(id)).unwrap();
        }
        fs::write(path("note.txt"), "no mail").unwrap();
        fs::create_dir(path("dir.eml")).unwrap();
        let listing = folder.list().unwrap();
        assert_eq!((listing.count, listing.duplicates), (3, 1));
        let copies = |file: &str| {
            listing.mails.iter().find(|mail| mail.summary.file == file).unwrap().copies
        };
        assert_eq!((copies("1.eml"), copies("2.eml"), copies("3.eml")), (2, 1, 2));

        fs::remove_file(path("1.eml")).unwrap();
        let listing = folder.list().unwrap();
        assert_eq!((listing.count, listing.duplicates), (2, 0));
        assert!(folder.message_ids.len() == 2 && folder.known.len() == 2);
    }

    #[test]
    fn a_file_that_is_still_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.eml");
        let mut folder = Folder::new(dir.path().to_owned());
        fs::write(&path, "Subj").unwrap();
        assert_eq!(folder.list().unwrap().mails[0].summary.subject, "");
        fs::write(&path, mail("a")).unwrap();
        assert_eq!(folder.list().unwrap().mails[0].summary.subject, "Hi");
        assert_eq!(folder.list().unwrap().mails[0].summary.message_id, "a");
        assert!(folder.known["1.eml"].is_complete);
    }

    #[test]
    fn the_newest_are_listed_and_all_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..250 {
            fs::write(dir.path().join(format!("{index:03}.eml")), mail(&index.to_string()))
                .unwrap();
        }
        let listing = Folder::new(dir.path().to_owned()).list().unwrap();
        assert_eq!((listing.count, listing.mails.len()), (250, 200));
        assert_eq!(listing.mails[0].summary.file, "249.eml");
        assert_eq!(listing.mails[199].summary.file, "050.eml");
    }
}
