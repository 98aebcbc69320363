//! Puts the pages of `docs/errors` into the binary, so that `postrider errors` needs no network.
//!
//! Writes `error_pages.rs`: an array of codes and pages in the order of the codes.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors").canonicalize()?;
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
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    fs::write(out.join("error_pages.rs"), text)
}

/// Says something to cargo.
fn tell(what: fmt::Arguments<'_>) -> io::Result<()> {
    use io::Write;
    writeln!(io::stdout(), "cargo::{what}")
}
