//! "Did you mean ..?"

use crate::limits::SUGGESTION_DISTANCE_DIVISOR;

/// The candidate nearest to what was written, if one is near. A difference in case alone counts
/// as no distance; a swapped pair of letters as one step.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let limit = (written.chars().count() / SUGGESTION_DISTANCE_DIVISOR).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest name, else all of them.
pub(crate) fn hint<'a>(
    written: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(name) = nearest(written, candidates.clone()) {
        return format!("did you mean `{name}`?");
    }
    let names: Vec<_> = candidates.into_iter().collect();
    if names.is_empty() {
        format!("there are no {what}")
    } else {
        format!("{what}: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{hint, nearest};

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("evnets", ["orders", "events"]), Some("events"));
        assert_eq!(nearest("UserId", ["user_id", "userid"]), Some("userid"));
        assert_eq!(nearest("x", ["events"]), None);
        assert_eq!(hint("zzz", "tables", ["a", "b"]), "tables: a, b");
    }
}
