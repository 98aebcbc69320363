//! `postrider errors`: the pages of docs/errors, offline.

use postrider_core::suggest;

use crate::{
    args::ErrorsArgs,
    console,
    outcome::{Failure, Outcome},
};

/// Codes and their pages, in the order of the codes; put together by `build.rs`.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// Prints the pages of some codes, or what there is.
pub(crate) fn run(args: &ErrorsArgs) -> Outcome {
    if args.codes.is_empty() {
        for (_, page) in PAGES {
            console::line(title(page));
        }
        console::line("\npostrider errors CODE says more about one of them.");
        return Ok(());
    }
    let found = args.codes.iter().map(|written| find(written)).collect::<Outcome<Vec<_>>>()?;
    let pages: Vec<_> = found.into_iter().map(plain).collect();
    console::line(pages.join("\n\n").trim_end());
    Ok(())
}

/// The page of a code: `PR0415`, `pr0415`, `PR415` and `415` are the same.
fn find(written: &str) -> Outcome<&'static str> {
    let digits = written.trim_start_matches(['P', 'p', 'R', 'r']);
    let code = format!("PR{digits:0>4}");
    if let Some((_, page)) = PAGES.iter().find(|(known, _)| *known == code) {
        return Ok(page);
    }
    let near = suggest::nearest(&code, PAGES.iter().map(|(known, _)| *known));
    let hint = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
    Err(Failure::invalid(format!(
        "there is no code '{written}'; {hint}`postrider errors` lists all"
    )))
}

/// `PR0415: What happened`
fn title(page: &str) -> &str {
    page.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default()
}

/// A page as it reads in a terminal: programs indented, links by their words, no comments.
fn plain(page: &str) -> String {
    let mut text = String::new();
    let mut in_program = false;
    for line in page.lines().filter(|line| !line.starts_with("<!--")) {
        if line.starts_with("```") {
            in_program = !in_program;
        } else if in_program {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        } else {
            text.push_str(&without_links(line.trim_start_matches('#').trim_start()));
            text.push('\n');
        }
    }
    text.trim_start().to_owned()
}

/// `[words](place)` as `words`.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        text.push_str(before);
        match link.split_once("](").and_then(|(words, to)| Some((words, to.split_once(')')?.1))) {
            Some((words, after)) if !words.contains(['[', ']']) => {
                text.push_str(words);
                rest = after;
            }
            _ => {
                text.push('[');
                rest = link;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::{PAGES, find, plain, without_links};

    #[test]
    fn a_code_is_found_however_it_is_written() {
        let page = find("PR0415").unwrap();
        assert!(page.starts_with("# PR0415: "), "{page}");
        for written in ["pr0415", "PR415", "415"] {
            assert_eq!(find(written).unwrap(), page);
        }
        assert!(PAGES.is_sorted_by_key(|(code, _)| code));
    }

    #[test]
    fn an_unknown_code_gets_a_suggestion() {
        let found = find("pr451").unwrap_err();
        assert!(found.text.contains("did you mean PR0"), "{}", found.text);
        let found = find("shop.sql").unwrap_err();
        assert_eq!(found.text, "there is no code 'shop.sql'; `postrider errors` lists all");
    }

    #[test]
    fn pages_are_plain_text() {
        let page = "<!-- repeat 3: a -->\n# PR1: a\n\nb [c](d.md), tags[1]\n\n```sql\nSELECT [1](x)\n```\n";
        assert_eq!(plain(page), "PR1: a\n\nb c, tags[1]\n\n    SELECT [1](x)\n");
        assert_eq!(without_links("[a](b) and [c](d)"), "a and c");
    }
}
