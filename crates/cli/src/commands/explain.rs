//! `postrider explain`.

use postrider_engine::{explain_mermaid, explain_text};

use crate::{args::ExplainArgs, console, outcome::Outcome, project::load};

/// Prints the dataflow.
pub(crate) fn run(args: &ExplainArgs) -> Outcome {
    let pipeline = load(&args.file)?;
    let explain = if args.mermaid { explain_mermaid } else { explain_text };
    console::line(explain(&pipeline.program)?.trim_end());
    Ok(())
}
