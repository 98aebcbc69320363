//! Sources: files and generated rows.

pub(crate) mod files;
pub(crate) mod generator;
mod lines;

pub(crate) use lines::LineFile;
