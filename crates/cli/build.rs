//! Puts the pages of `docs/errors` into the binary, so that `postrider errors` needs no network.
//!
//! Writes `error_pages.rs`: an array of codes and pages in the order of the codes.

use std::{env, fmt, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    // Asked of cargo at run time: a target folder outlives the checkout that this script was compiled in.
    let manifest = variable("CARGO_MANIFEST_DIR")?;
    let pages = manifest.join("../../docs/errors").canonicalize()?;
    tell(format_args!("rerun-if-changed={}", pages.display()))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&pages)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        // README.md is the index.
        if let Some(name) = name.filter(|name| name.starts_with("PR")) {
            tell(format_args!("rerun-if-changed={}", path.display()))?;
            files.push((name, path));
        }
    }
    files.sort();
    let pages = files.iter().map(|(name, path)| format!("({name:?}, include_str!({path:?})),"));
    let text = format!("&[{}]", pages.collect::<String>());
    fs::write(variable("OUT_DIR")?.join("error_pages.rs"), text)
}

/// A folder that cargo names.
fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other(format!("cargo set no {name}")))
}

/// Says something to cargo.
fn tell(what: fmt::Arguments<'_>) -> io::Result<()> {
    use io::Write;
    writeln!(io::stdout(), "cargo::{what}")
}
