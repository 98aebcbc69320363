//! Pipelines on disk: the SQL, its name, its templates.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use postrider_core::{Diagnostic, PipelineName};
use postrider_mail::{EmailSink, SinkColumn, TemplateLoader};
use postrider_plan::{Program, Query, SinkTarget, Table};

use crate::{
    console,
    outcome::{Failure, Outcome},
    report,
};

/// A pipeline that passed every check.
#[derive(Debug, Clone)]
pub(crate) struct LoadedPipeline {
    /// Shown in messages.
    pub(crate) path: String,
    pub(crate) program: Arc<Program>,
    /// Where relative paths start.
    pub(crate) dir: PathBuf,
    /// Its email sinks by `pipeline.sink`.
    pub(crate) emails: HashMap<String, Arc<EmailSink>>,
}

/// Where a pipeline's text and templates come from.
pub(crate) struct PipelineText<'a> {
    /// Shown in messages.
    pub(crate) path: &'a str,
    pub(crate) sql: &'a str,
    pub(crate) name: PipelineName,
    pub(crate) dir: PathBuf,
    pub(crate) templates: &'a dyn TemplateLoader,
}

/// Reads templates beside the pipeline.
pub(crate) struct Beside(pub(crate) PathBuf);

impl TemplateLoader for Beside {
    fn load(&self, path: &str) -> Result<String, String> {
        let path = self.0.join(path);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The name of a pipeline file: its folder for `pipeline.sql`, else its own.
pub(crate) fn pipeline_name(path: &Path) -> PipelineName {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem = absolute.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let folder = absolute.parent().and_then(Path::file_name);
    let name = match (stem.as_deref(), folder) {
        (Some("pipeline"), Some(folder)) => folder.to_string_lossy().into_owned(),
        (Some(stem), _) => stem.to_owned(),
        (None, _) => "pipeline".to_owned(),
    };
    PipelineName(name)
}

/// Loads and checks a pipeline file.
pub(crate) fn load(path: &Path) -> Outcome<LoadedPipeline> {
    let (shown, sql, dir) = read(path)?;
    load_text(&PipelineText {
        path: &shown,
        sql: &sql,
        name: pipeline_name(path),
        dir: dir.clone(),
        templates: &Beside(dir),
    })
}

/// Loads a pipeline file for its tables and views: it needs no queries, and those that it has are not checked any further.
pub(crate) fn load_tables(path: &Path) -> Outcome<LoadedPipeline> {
    let (shown, sql, dir) = read(path)?;
    let failed = |found: &[Diagnostic]| report::failure(&shown, &sql, found);
    let program = postrider_sql::plan_tables(&sql, pipeline_name(path))
        .map_err(|errors| failed(&errors.0))?;
    let errors = crate::wiring::check_tables(&program);
    if !errors.is_empty() {
        return Err(failed(&errors));
    }
    Ok(LoadedPipeline { path: shown, program: Arc::new(program), dir, emails: HashMap::new() })
}

/// The path as it is shown, the text, and where relative paths start.
fn read(path: &Path) -> Outcome<(String, String, PathBuf)> {
    let shown = path.display().to_string();
    let sql = std::fs::read_to_string(path).map_err(|error| {
        Failure::invalid(format!("can't read {shown}: {error}; give the path of a .sql file"))
    })?;
    Ok((shown, sql, path.parent().map_or_else(PathBuf::new, Path::to_owned)))
}

/// Plans and checks a pipeline, and shows what is wrong with it.
pub(crate) fn load_text(text: &PipelineText<'_>) -> Outcome<LoadedPipeline> {
    let warn = |warnings: &[Diagnostic]| {
        let colour = console::has_colour();
        console::note(&report::render(text.path, text.sql, warnings, colour));
    };
    check_text(text, warn).map_err(|found| report::failure(text.path, text.sql, &found))
}

/// Plans and checks a pipeline: its SQL, its connectors' options, its sinks' contracts.
pub(crate) fn check_text(
    text: &PipelineText<'_>,
    warn: impl FnOnce(&[Diagnostic]),
) -> Result<LoadedPipeline, Vec<Diagnostic>> {
    let program =
        postrider_sql::plan_program(text.sql, text.name.clone()).map_err(|errors| errors.0)?;
    let emails = check_program(&program, text.templates);
    let doubts = emails.iter().flat_map(HashMap::values).flat_map(|sink| sink.warnings());
    let mut warnings: Vec<_> = program.warnings.iter().chain(doubts).cloned().collect();
    warnings.sort_by_key(|warning| warning.span.as_ref().map_or(0, |span| span.range.start));
    if !warnings.is_empty() {
        warn(&warnings);
    }
    let (path, dir) = (text.path.to_owned(), text.dir.clone());
    Ok(LoadedPipeline { path, program: Arc::new(program), dir, emails: emails? })
}

/// The email sinks of a program that can run.
fn check_program(
    program: &Program,
    templates: &dyn TemplateLoader,
) -> Result<HashMap<String, Arc<EmailSink>>, Vec<Diagnostic>> {
    let mut errors = crate::wiring::check_tables(program);
    let (emails, found) = compile_emails(program, templates);
    errors.extend(found);
    if !errors.is_empty() {
        return Err(errors);
    }
    // What the engine can't run is found here, not at the start of `run`.
    postrider_engine::explain_text(program).map_err(|errors| by_query(program, errors.0))?;
    Ok(emails)
}

/// What the engine says about a program, each finding at its query: the engine knows plans, not texts.
fn by_query(program: &Program, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut placed = Vec::new();
    for query in &program.queries {
        let alone = Program { queries: vec![query.clone()], ..program.clone() };
        let Err(found) = postrider_engine::explain_text(&alone) else { continue };
        placed.extend(found.0.into_iter().map(|finding| match finding.span {
            Some(_) => finding,
            None => finding.at(query.range.clone()),
        }));
    }
    if placed.is_empty() { found } else { placed }
}

fn compile_emails(
    program: &Program,
    templates: &dyn TemplateLoader,
) -> (HashMap<String, Arc<EmailSink>>, Vec<Diagnostic>) {
    let (mut emails, mut errors) = (HashMap::new(), Vec::new());
    for query in &program.queries {
        let SinkTarget::Table(table) = &query.sink else { continue };
        if !table.is_email() {
            continue;
        }
        let trigger = format!("{}.{}", program.name, table.name);
        let columns = sink_columns(table, query);
        match EmailSink::compile(&trigger, table.options.clone(), &columns, templates) {
            Ok(sink) => drop(emails.insert(trigger, Arc::new(sink))),
            Err(found) => errors.extend(found),
        }
    }
    (emails, errors)
}

fn sink_columns(table: &Table, query: &Query) -> Vec<SinkColumn> {
    let fields = query.plan.schema().fields().iter();
    let declared = |name: &str| table.columns.iter().find(|column| column.name == name);
    fields
        .map(|field| SinkColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            // What the planner declared is more exact than what the plan's schema says.
            nullable: declared(field.name())
                .map_or_else(|| field.is_nullable(), |column| column.nullable),
            range: declared(field.name())
                .map(|column| column.range.clone())
                .or_else(|| Some(query.range.clone())),
        })
        .collect()
}
