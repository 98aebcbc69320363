//! The pages of `docs/errors`, which must be true: each shows a program and what `postrider check` says about it, and how it
//! is written instead. Both are run.
//!
//! A page has a title, a program with the output of a command, and the sections `Why`, `What to do` and `See also`.
//! Its code blocks, from the top:
//!
//! - `sql` is the program; it is written to `shop.sql`.
//! - Any language with a file name behind it, such as `html cart.mjml`, is that file.
//! - `console` is `$ [NAME=value ..] postrider ..` and what it prints: standard error, then standard output.
//!   `POSTRIDER_BLESS=1` writes what comes out; read the diff.
//!
//! What stands above `What to do` must give the page's code and no other. What stands below must pass without any: where no
//! `console` follows a program, it is checked. A page may begin with comments:
//!
//! - `<!-- repeat N: line -->`, once or more: the program has this line N times. The text says so too.
//! - `<!-- warns CODE -->`: what stands below `What to do` gives this warning, and nothing else. The text says why it is fine.
//! - `<!-- no program: why -->`: no program gives this code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    thread,
};

use crate::process::{postrider, root, write};

/// Codes that no program should give.
const NO_PROGRAM: [&str; 1] = ["PR0199"];

const SECTIONS: [&str; 3] = ["## Why", "## What to do", "## See also"];

#[test]
fn every_page_is_true() {
    let pages = Mutex::new(pages().into_iter());
    let faults = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(page) = { pages.lock().unwrap().next() } {
                    faults.lock().unwrap().extend(page.faults());
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeMap<_, _> = pages().into_iter().map(|page| (page.code.clone(), page)).collect();
    let known = known_codes();
    assert!(known.len() >= 60, "{known:?}");
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut faults = Vec::new();
    for code in &known {
        if !pages.contains_key(code) {
            faults.push(format!(
                "{code} has no page: write docs/errors/{code}.md like docs/errors/PR0415.md, with an empty `console` block; \
                 run this test with POSTRIDER_BLESS=1, and read what it wrote"
            ));
        }
    }
    for (code, page) in &pages {
        if !known.contains(code) {
            faults.push(format!("no crate makes {code}, which has a page"));
        }
        let line = format!("| [{code}]({code}.md) | {} |", page.title());
        if !index.contains(&line) {
            faults.push(format!("docs/errors/README.md lacks the line\n{line}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pages_are_read_in_the_terminal() {
    let page = crate::process::run(postrider(["errors", "pr0415"])).ok();
    assert!(
        page.starts_with("PR0415: ") && page.contains("    $ postrider check shop.sql"),
        "{page}"
    );
    assert!(!page.contains("```") && !page.contains(".md)"), "{page}");
    let all = crate::process::run(postrider(["errors"])).ok();
    for code in known_codes() {
        assert!(all.contains(&format!("{code}: ")), "{code} in {all}");
    }
    let err = crate::process::run(postrider(["errors", "PR0145"])).fails_with(2);
    assert!(err.contains("there is no code 'PR0145'; did you mean PR01"), "{err}");
}

fn folder() -> PathBuf {
    root().join("docs/errors")
}

fn pages() -> Vec<Page> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<Page> = files
        .filter(|path| !path.ends_with("README.md"))
        .map(|path| {
            let code = path.file_stem().unwrap().to_str().unwrap().to_owned();
            Page { code, text: fs::read_to_string(&path).unwrap(), path }
        })
        .collect();
    pages.sort_by(|a, b| a.code.cmp(&b.code));
    pages
}

/// Every code that the sources of a crate have as a literal.
fn known_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut folders: Vec<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let quoted = text.split('"').filter(|word| word.len() == 6);
                codes.extend(quoted.flat_map(codes_in));
            }
        }
    }
    codes
}

/// Every `PR` with four digits in a text.
fn codes_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_code = |word: &&str| {
        word.len() == 6
            && word.strip_prefix("PR").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    words.filter(is_code).map(str::to_owned).collect()
}

struct Page {
    code: String,
    path: PathBuf,
    text: String,
}

/// A code block: the words behind its fence, and its lines.
struct Block {
    info: Vec<String>,
    /// Indices of the lines between the fences.
    start: usize,
    end: usize,
    /// Whether it stands below `What to do`.
    is_fix: bool,
}

impl Page {
    fn title(&self) -> &str {
        let title = self.text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
        title.split_once(": ").map_or("", |(_, title)| title)
    }

    /// What stands behind `<!-- name` at the head of the page.
    fn header(&self, name: &str) -> Option<&str> {
        let first = self.text.lines().next()?;
        first.strip_prefix("<!-- ")?.strip_prefix(name)?.strip_suffix(" -->")
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        let mut is_fix = false;
        for (at, line) in self.text.lines().enumerate() {
            is_fix |= line == SECTIONS[1];
            let Some(info) = line.strip_prefix("```") else { continue };
            open = match open.take() {
                Some(block) => {
                    blocks.push(Block { end: at, ..block });
                    None
                }
                None => {
                    let info = info.split(' ').map(str::to_owned).collect();
                    Some(Block { info, start: at + 1, end: at + 1, is_fix })
                }
            };
        }
        assert!(open.is_none(), "{}: a code block is not closed", self.code);
        blocks
    }

    /// All that is wrong with the page.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.form();
        if self.header("no program: ").is_some() == NO_PROGRAM.contains(&self.code.as_str()) {
            if self.header("no program: ").is_none() {
                faults.extend(self.run());
            }
        } else {
            faults.push("only a code of NO_PROGRAM has no program".to_owned());
        }
        faults.iter().map(|fault| format!("{}: {fault}", self.code)).collect()
    }

    fn form(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let places = SECTIONS.map(|section| self.text.lines().position(|line| line == section));
        if places.contains(&None) || !places.is_sorted() {
            faults.push(format!("its sections are {}", SECTIONS.join(", ")));
        }
        if self.title().is_empty() || !self.text.contains(&format!("# {}: ", self.code)) {
            faults.push(format!("its first heading is `# {}: what happened`", self.code));
        }
        for (_, link) in self.text.match_indices("](").map(|(at, _)| self.text.split_at(at + 2)) {
            let to = link.split([')', '#']).next().unwrap_or_default();
            if !to.starts_with("http") && !folder().join(to).exists() {
                faults.push(format!("the link to {to} leads nowhere"));
            }
        }
        faults
    }

    /// Runs what the page shows, and compares or rewrites what it prints.
    fn run(&self) -> Vec<String> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut shop = Shop::new();
        let (mut faults, mut new, mut copied) = (Vec::new(), Vec::new(), 0);
        let (mut shown, mut passed) = (0, 0);
        for block in self.blocks() {
            if block.is_fix != shop.is_fix {
                if shop.unchecked {
                    faults.push("no `console` block shows what its program gives".to_owned());
                }
                (shop.is_fix, shop.unchecked, shop.program_unchecked) = (true, false, false);
            }
            let body = &lines[block.start..block.end];
            let info: Vec<&str> = block.info.iter().map(String::as_str).collect();
            match info.as_slice() {
                ["console"] => {
                    let command = body.first().copied().unwrap_or("$ postrider check shop.sql");
                    let printed = shop.run(command);
                    faults.extend(self.judge(&printed, block.is_fix));
                    (shown, passed) = (shown + 1, passed + usize::from(block.is_fix));
                    new.extend(lines[copied..block.start].iter().map(|line| (*line).to_owned()));
                    new.push(command.to_owned());
                    new.extend(printed.text.lines().map(|line| line.trim_end().to_owned()));
                    copied = block.end;
                }
                ["sql"] => {
                    if shop.program_unchecked {
                        faults.extend(self.flush(&mut shop, &mut passed));
                    }
                    let text = if block.is_fix { body.join("\n") } else { self.repeated(body) };
                    shop.put("shop.sql", &text);
                    shop.program_unchecked = true;
                }
                [_, file] => shop.put(file, &body.join("\n")),
                other => faults.push(format!("`{}` is no kind of block", other.join(" "))),
            }
        }
        faults.extend(self.flush(&mut shop, &mut passed));
        if shown == 0 || passed == 0 {
            faults.push("shows a program with what it gives, and one that passes".to_owned());
        }
        new.extend(lines[copied..].iter().map(|line| (*line).to_owned()));
        let new = new.join("\n") + "\n";
        if new != self.text && std::env::var_os("POSTRIDER_BLESS").is_some() {
            fs::write(&self.path, new).unwrap();
        } else if new != self.text {
            faults.push(format!("prints something else; POSTRIDER_BLESS=1 makes it\n{new}"));
        }
        faults
    }

    /// Checks a fix that no `console` block runs.
    fn flush(&self, shop: &mut Shop, passed: &mut usize) -> Vec<String> {
        if !(shop.is_fix && shop.unchecked) {
            return Vec::new();
        }
        *passed += 1;
        self.judge(&shop.run("$ postrider check shop.sql"), true)
    }

    fn judge(&self, printed: &Printed, is_fix: bool) -> Vec<String> {
        let mut faults = Vec::new();
        let codes = codes_in(&printed.text);
        let own = BTreeSet::from([self.code.clone()]);
        let wanted = if is_fix { codes_in(self.header("warns ").unwrap_or_default()) } else { own };
        if codes != wanted {
            faults.push(format!("gives {codes:?}, not {wanted:?}:\n{}", printed.text));
        }
        let failed = printed.text.contains("error[") || printed.text.contains("error: ");
        if printed.exit != if failed { 2 } else { 0 } || is_fix && failed {
            faults.push(format!("ends with {}:\n{}", printed.exit, printed.text));
        }
        faults
    }

    /// A program whose lines of the header stand there as often as it says.
    fn repeated(&self, body: &[&str]) -> String {
        let mut lines: Vec<&str> = body.to_vec();
        for header in self.text.lines().map_while(|line| line.strip_prefix("<!-- repeat ")) {
            let (times, line) = header.strip_suffix(" -->").unwrap().split_once(": ").unwrap();
            let times: usize = times.parse().unwrap();
            let found = lines.iter().filter(|known| **known == line).count();
            assert_eq!(found, 1, "{}: `{line}` is no line of the program", self.code);
            let repeat = |known: &&str| if *known == line { times } else { 1 };
            lines = lines.iter().flat_map(|known| vec![*known; repeat(known)]).collect();
        }
        lines.join("\n")
    }
}

/// What a command printed.
struct Printed {
    text: String,
    exit: i32,
}

/// Where the programs of a page are run.
struct Shop {
    dir: tempfile::TempDir,
    is_fix: bool,
    /// A file was written, and nothing was run since.
    unchecked: bool,
    /// The same of the program.
    program_unchecked: bool,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, is_fix: false, unchecked: false, program_unchecked: false }
    }

    fn put(&mut self, file: &str, text: &str) {
        write(self.dir.path(), file, &format!("{text}\n"));
        self.unchecked = true;
    }

    /// Runs `$ NAME=value postrider words "quoted words"`.
    fn run(&mut self, command: &str) -> Printed {
        (self.unchecked, self.program_unchecked) = (false, false);
        let words = words(command.strip_prefix("$ ").unwrap());
        let at = words.iter().position(|word| word == "postrider").unwrap();
        let mut process = postrider(&words[at + 1..]);
        let settings = words[..at].iter().map(|word| word.split_once('=').unwrap());
        process.current_dir(self.dir.path()).envs(settings).stdin(Stdio::null());
        let output = process.output().unwrap();
        let text = [output.stderr, output.stdout].map(|bytes| String::from_utf8(bytes).unwrap());
        Printed { text: hide(self.dir.path(), &text.concat()), exit: output.status.code().unwrap() }
    }
}

/// The temporary folder has no place on a page, nor has the number of epochs, which depends on how long the disk takes.
fn hide(dir: &Path, text: &str) -> String {
    let text = text.replace(&format!("{}/", dir.display()), "");
    let parts: Vec<&str> = text.split(" epochs").collect();
    let (last, counted) = parts.split_last().unwrap();
    let counted = counted.iter().map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit()));
    counted.map(|part| format!("{part}.. epochs")).chain([(*last).to_owned()]).collect()
}

/// Words, of which those in double quotes may have spaces.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    let words = parts.flat_map(|(at, part)| {
        let quoted = at % 2 == 1;
        let words: Vec<_> = if quoted { vec![part] } else { part.split_whitespace().collect() };
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    words.collect()
}
