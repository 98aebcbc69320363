//! Counting what is lost and what is there twice.

use std::{collections::BTreeMap, fmt::Debug};

/// How many of what is wrong are told.
const TOLD: usize = 5;

/// What is lost and what is twice, and the same in words.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    lost: usize,
    twice: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Counts what is missing of what is expected, and what is there beside it or more often.
    pub fn compare<T: Ord + Debug>(
        &mut self,
        what: &str,
        found: impl IntoIterator<Item = T>,
        expected: impl IntoIterator<Item = T>,
    ) {
        let mut balance: BTreeMap<T, isize> = BTreeMap::new();
        expected.into_iter().for_each(|item| *balance.entry(item).or_default() -= 1);
        found.into_iter().for_each(|item| *balance.entry(item).or_default() += 1);
        let sum = |sign: isize| -> usize {
            balance.values().map(|count| usize::try_from(count * sign).unwrap_or(0)).sum()
        };
        let (lost, twice) = (sum(-1), sum(1));
        let first: Vec<_> = balance.iter().filter(|(_, count)| **count != 0).take(TOLD).collect();
        self.count(what, lost, twice, &format!("{first:?}"));
    }

    /// The same for what is only counted.
    pub fn compare_counts(&mut self, what: &str, found: usize, expected: usize) {
        let (lost, twice) = (expected.saturating_sub(found), found.saturating_sub(expected));
        self.count(what, lost, twice, &format!("{found} of {expected}"));
    }

    fn count(&mut self, what: &str, lost: usize, twice: usize, which: &str) {
        if lost + twice > 0 {
            self.wrong.push(format!("{what}: {lost} lost, {twice} twice: {which}"));
        }
        (self.lost, self.twice) = (self.lost + lost, self.twice + twice);
    }

    /// How much is lost.
    pub fn lost(&self) -> u64 {
        self.lost as u64
    }

    /// How much is twice, or should not be there.
    pub fn twice(&self) -> u64 {
        self.twice as u64
    }

    /// That nothing is wrong.
    ///
    /// # Errors
    /// What is.
    pub fn verdict(&self) -> Result<(), String> {
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn what_is_lost_and_what_is_twice_is_counted() {
        let mut tally = Tally::default();
        tally.compare("windows", ["a", "b"], ["b", "a"]);
        assert_eq!(tally.verdict(), Ok(()));
        tally.compare("events", [1, 2, 2, 2, 5], [1, 2, 3, 4]);
        tally.compare_counts("rows", 7, 9);
        tally.compare_counts("mails", 3, 2);
        assert_eq!((tally.lost(), tally.twice()), (4, 4));
        let wrong = tally.verdict().unwrap_err();
        assert!(wrong.starts_with("events: 2 lost, 3 twice: [(2, 2), (3, -1), (4, -1), (5, 1)]"));
        assert_eq!(wrong.lines().count(), 3, "{wrong}");
    }
}
