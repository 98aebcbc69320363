//! `postrider state export`: the rows of a checkpoint.

use std::{
    fs::{self, File},
    path::Path,
};

use arrow::array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use postrider_engine::live_rows;

use super::{find, one};
use crate::{
    args::ExportArgs,
    commands::rows,
    console::{self, counted},
    outcome::{Failure, Outcome},
};

pub(super) async fn run(args: &ExportArgs) -> Outcome {
    let store = one(&args.state_dir, &args.pipeline).await?;
    let manifest = find(&store, args.checkpoint.as_ref()).await?;
    let operators = &manifest.checkpoint.operators;
    let chosen: Vec<_> = match args.operator {
        None => operators.iter().enumerate().collect(),
        Some(number) => {
            operators.iter().enumerate().skip(number.saturating_sub(1)).take(1).collect()
        }
    };
    if chosen.is_empty() || args.operator == Some(0) {
        let known = counted(operators.len() as u64, "operator");
        return Err(Failure::invalid(format!("checkpoint {} has {known}", manifest.id)));
    }
    if args.out.is_none() && chosen.len() > 1 {
        return Err(Failure::invalid(
            "the operators have different columns: choose one with --operator, or write files with --out",
        ));
    }
    let blobs = store.verify(&manifest).await?;
    for (index, operator) in chosen {
        let batches = live_rows(operator, &blobs).map_err(Failure::failed)?;
        if let Some(dir) = &args.out {
            let name = format!("{}-{}.arrow", index + 1, file_name(&operator.name));
            write(dir, &name, &batches)?;
        }
        if let (Some(format), Some(first)) = (args.format, batches.first()) {
            rows::print(&first.schema(), &batches, format)?;
        }
    }
    Ok(())
}

fn write(dir: &Path, name: &str, batches: &[RecordBatch]) -> Outcome {
    let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
    let Some(first) = batches.first() else {
        console::note(&format!("{name}  no rows, not written"));
        return Ok(());
    };
    let path = dir.join(name);
    let failed =
        |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    let file = File::create(&path).map_err(|error| failed(&error))?;
    let mut writer = FileWriter::try_new(file, &first.schema()).map_err(|error| failed(&error))?;
    for batch in batches {
        writer.write(batch).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))?;
    console::line(format!("{}  {}", path.display(), counted(rows, "row")));
    Ok(())
}

/// What people call an operator, as a file name.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(safe).collect()
}
