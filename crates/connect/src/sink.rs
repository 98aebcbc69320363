//! Data sinks: files, the terminal, nothing.

mod append;
pub(crate) mod blackhole;
pub(crate) mod debezium;
pub(crate) mod folder;
pub(crate) mod single_file;
pub(crate) mod stdout;

pub(crate) use append::AppendFile;
pub use stdout::SharedWriter;
