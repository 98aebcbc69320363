//! Comparisons as a Markdown table.

use super::Compared;

const HEAD: &str = "| query | from | shards | Postrider, M events/s | DataFusion, M events/s | ratio | CPU s each M events | DataFusion's |\n\
                    |---|---|---|---|---|---|---|---|";

/// One line a comparison.
pub(super) fn markdown(all: &[Compared]) -> String {
    let lines = all.iter().map(|one| {
        let million = |rate: f64| rate / 1e6;
        let cpu = |seconds: f64, wall: f64, rate: f64| seconds * 1e6 / (wall * rate);
        let (ours, theirs) = (one.postrider, one.datafusion);
        format!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            one.name,
            one.input.name(),
            one.threads,
            million(ours.events_per_second),
            million(theirs.events_per_second),
            one.ratio_wall(),
            cpu(ours.cpu_seconds, ours.wall_seconds, ours.events_per_second),
            cpu(theirs.cpu_seconds, theirs.wall_seconds, theirs.events_per_second),
        )
    });
    [HEAD.to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}
