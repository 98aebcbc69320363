//! "Did you mean ..?"

/// How unlike a name may be to be suggested instead: a third of its letters.
const DISTANCE_DIVISOR: usize = 3;

/// The candidate nearest to what was written, if one is near. A difference in case alone counts
/// as no distance; a swapped pair of letters as one step.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let length = written.chars().count();
    // Of one letter nothing would be left.
    let limit = (length / DISTANCE_DIVISOR).max(1).min(length.saturating_sub(1));
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest name, else all of them.
pub fn hint<'a>(
    written: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    nearest(written, candidates.clone())
        .map_or_else(|| all(what, candidates), |name| format!("did you mean `{name}`?"))
}

/// A hint: the nearest name, if one is near, and all of them: for lists that are short, and whose words are not to be
/// seen in the program. `quote` stands around the nearest, as it does in the program.
pub fn hint_and_all<'a>(
    written: &str,
    quote: char,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let all = all(what, candidates.clone());
    nearest(written, candidates)
        .map_or_else(|| all.clone(), |name| format!("did you mean {quote}{name}{quote}? {all}"))
}

fn all<'a>(what: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = candidates.into_iter().collect();
    if names.is_empty() {
        format!("there are no {what}")
    } else {
        format!("{what}: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{hint, hint_and_all, nearest};

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("evnets", ["orders", "events"]), Some("events"));
        assert_eq!(nearest("UserId", ["user_id", "userid"]), Some("userid"));
        assert_eq!(nearest("x", ["events", "y"]), None);
        assert_eq!(nearest("X", ["x"]), Some("x"));
        assert_eq!(hint("zzz", "tables", ["a", "b"]), "tables: a, b");
        assert_eq!(hint("zzz", "tables", []), "there are no tables");
        let known = ["path", "type"];
        assert_eq!(
            hint_and_all("pth", '`', "options", known),
            "did you mean `path`? options: path, type"
        );
        assert_eq!(hint_and_all("zzz", '`', "options", known), "options: path, type");
    }
}
