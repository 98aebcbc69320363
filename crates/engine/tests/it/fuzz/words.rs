//! Programs with some of their words changed.

use super::random::Random;

/// Words that no program is made of, and that the parser knows.
const STRANGE: [&str; 24] = [
    "LATERAL ",
    "OVER ",
    "(",
    ")",
    "'",
    "\"",
    "NULL ",
    "-",
    "::",
    "[",
    "ARRAY[",
    "CASE ",
    "END ",
    "WITHIN GROUP ",
    "FOR SYSTEM_TIME AS OF ",
    "INTERVAL ",
    "9223372036854775808 ",
    "1e400 ",
    "$1 ",
    "é",
    "QUALIFY ",
    ";",
    "--",
    "/*",
];
/// Changes of a program.
const CHANGES: usize = 4;

/// `program` with a few words removed, doubled, swapped, or taken from `other` or from elsewhere.
pub(crate) fn broken(program: &str, other: &str, random: &mut Random) -> String {
    let split = |text: &str| -> Vec<String> {
        text.split_inclusive([' ', '(', ',', ')', '\n', '.']).map(str::to_owned).collect()
    };
    let (mut words, other) = (split(program), split(other));
    for _ in 0..=random.below(CHANGES) {
        let at = random.below(words.len());
        match random.below(6) {
            0 if words.len() > 1 => drop(words.remove(at)),
            1 => words.insert(at, other[random.below(other.len())].clone()),
            2 => {
                let from = random.below(words.len());
                words.swap(at, from);
            }
            3 => words.insert(at, (*random.pick(&STRANGE)).to_owned()),
            4 => {
                let word = words[at].clone();
                words.insert(at, word);
            }
            _ => {
                let from = random.below(other.len());
                let to = (from + random.below(8)).min(other.len());
                words.splice(at..at, other[from..to].iter().cloned());
            }
        }
    }
    words.concat()
}
