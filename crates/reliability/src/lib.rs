//! `reliability.json`: what campaigns of deaths, takeovers and faults came to, one entry each, all of one shape.
//!
//! For tests only. `POSTRIDER_RELIABILITY` names the file; without it nothing is written. `POSTRIDER_RELIABILITY_COMMIT` says
//! which commit was tried. Several tests may write at the same time: each holds a lock on the file.

mod tally;

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::tally::Tally;

/// The variable that names the file.
const FILE: &str = "POSTRIDER_RELIABILITY";
/// The variable that says what was tried.
const COMMIT: &str = "POSTRIDER_RELIABILITY_COMMIT";

/// The seeds of a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Seeds {
    /// The first one.
    pub first: u64,
    /// How many there were from it on; 0 where nothing was left to chance.
    pub count: u64,
}

/// What a campaign came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Campaign {
    /// How often it was tried: deaths, takeovers, full disks, seeds, subsets of what a power loss keeps.
    pub cases: u64,
    /// Its dice.
    pub seeds: Seeds,
    /// Events, windows, rows and mails that should be there and are not. Counted, as everything here.
    pub lost: u64,
    /// Those that are there more often than once, or should not be there at all.
    pub twice: u64,
    /// Sends of which nobody can know whether the mail was taken, and which are listed as such.
    pub in_doubt: u64,
    /// How long it took.
    pub seconds: f64,
    /// What was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What happened beside, and what this campaign alone counts.
    pub facts: BTreeMap<String, Value>,
}

impl Campaign {
    /// Takes note of how long it took.
    #[must_use]
    pub fn took(mut self, time: Duration) -> Self {
        self.seconds = (time.as_secs_f64() * 10.0).round() / 10.0;
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Writes it under a name, in place of an earlier one of that name, if a file was named. Comes before the checks, so that
    /// what went wrong is written as well.
    ///
    /// # Errors
    /// The file can't be written, or holds something else.
    pub fn write(mut self, name: &str) -> io::Result<()> {
        let Some(file) = std::env::var_os(FILE) else { return Ok(()) };
        self.commit = std::env::var(COMMIT).ok();
        self.write_to(Path::new(&file), name)
    }

    fn write_to(&self, file: &Path, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(file)?;
        file.lock()?;
        let mut all = entries(&mut file)?;
        all.insert(name.to_owned(), serde_json::to_value(self)?);
        file.seek(SeekFrom::Start(0))?;
        file.set_len(0)?;
        writeln!(file, "{:#}", Value::Object(all))
    }
}

fn entries(file: &mut File) -> io::Result<Map<String, Value>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.is_empty() { Ok(Map::new()) } else { Ok(serde_json::from_str(&text)?) }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Campaign, Seeds};

    #[test]
    fn campaigns_stand_beside_each_other_and_a_later_one_replaces_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reliability.json");
        let seeds = Seeds { first: 7, count: 2 };
        let campaign = Campaign { cases: 2, seeds, lost: 1, ..Campaign::default() };
        campaign.clone().took(Duration::from_millis(1_260)).write_to(&file, "kills").unwrap();
        campaign.fact("mails", 3).write_to(&file, "zombies").unwrap();
        Campaign::default().write_to(&file, "zombies").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(all["kills"]["lost"], 1);
        assert_eq!(all["kills"]["seeds"]["first"], 7);
        assert_eq!(all["kills"]["seconds"], 1.3);
        assert_eq!(all["zombies"]["cases"], 0);
        assert_eq!(all["zombies"]["facts"].as_object().unwrap().len(), 0);
        assert_eq!(all.as_object().unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reliability.json");
        fs::write(&file, "my notes").unwrap();
        assert!(Campaign::default().write_to(&file, "kills").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "my notes");
    }
}
