//! Running the binary: output line by line, deadlines instead of sleeps, nothing left behind.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// The longest that any step of a test may take; far above what it does take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A finished command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Its standard output, if it succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

/// The binary with these arguments, in the root of the repository.
pub(crate) fn postrider<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(args).current_dir(root()).env_remove("POSTRIDER_LOG").stdin(Stdio::null());
    command
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What `scripts/fetch-test-data` fetched.
pub(crate) fn test_data(name: &str) -> PathBuf {
    let dir = std::env::var_os("POSTRIDER_TEST_DATA").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/postrider/test-data"),
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run scripts/fetch-test-data first", path.display());
    path
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Finished {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running::of(child);
    let status = running.wait();
    Finished { status, out: running.rest_of_out(), err: running.rest_of_err() }
}

/// A running command; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// What follows `prefix` on the first line of standard output that has it.
    pub(crate) fn out_after(&self, prefix: &str) -> String {
        after(&self.out, prefix)
    }

    /// The same on standard error.
    pub(crate) fn err_after(&self, prefix: &str) -> String {
        after(&self.err, prefix)
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the command did not end in time");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, at most this long.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn rest_of_out(&self) -> String {
        self.out.iter().map(|line| line + "\n").collect()
    }

    pub(crate) fn rest_of_err(&self) -> String {
        self.err.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn after(lines: &Receiver<String>, prefix: &str) -> String {
    let until = Instant::now() + DEADLINE;
    let mut seen = String::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left);
        let line = line.unwrap_or_else(|_| panic!("no line starts with `{prefix}` in:\n{seen}"));
        if let Some(rest) = line.strip_prefix(prefix) {
            return rest.trim().to_owned();
        }
        seen.push_str(&line);
        seen.push('\n');
    }
}

/// Waits until `done` says so.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen in time");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A local mailbox in a process of its own.
#[derive(Debug)]
pub(crate) struct Mailbox {
    _running: Running,
    pub(crate) smtp: String,
    pub(crate) http: String,
    pub(crate) dir: PathBuf,
}

impl Mailbox {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = postrider(["mailbox", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.arg("--dir").arg(dir);
        let running = Running::start(command);
        let http = running.out_after("mailbox");
        let smtp = running.out_after("smtp");
        Self { _running: running, smtp, http, dir: dir.to_owned() }
    }

    /// The Message-ID of every mail, sorted; one that came twice is there twice.
    pub(crate) fn message_ids(&self) -> Vec<String> {
        message_ids(&self.dir)
    }
}

/// The Message-IDs of the `.eml` files of a directory, sorted.
pub(crate) fn message_ids(dir: &Path) -> Vec<String> {
    let mut ids: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
            let id = line.unwrap_or_else(|| panic!("{} has no Message-ID", path.display()));
            id.trim().trim_matches(['<', '>']).split('@').next().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids
}

/// The sends of a state directory as JSON objects.
pub(crate) fn outbox(state: &Path) -> Vec<serde_json::Value> {
    let mut command = postrider(["outbox", "--format", "json", "--state-dir"]);
    command.arg(state);
    let out = run(command).ok();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
