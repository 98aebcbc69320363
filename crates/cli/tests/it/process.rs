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

use rustix::process::{Pid, kill_process};

pub(crate) use rustix::process::Signal;

/// The longest that any step of a test may take; far above what it does take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A finished command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
    /// How long it ran.
    pub(crate) took: Duration,
}

impl Finished {
    /// Its exit code; -1 after a signal.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Its standard output, if it succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Its standard error, if it ended with this code and did not panic.
    pub(crate) fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code(), code, "{}\n{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

/// The binary with these arguments, in the root of the repository.
pub(crate) fn postrider<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    for name in
        ["POSTRIDER_LOG", "POSTRIDER_WRITE_KEYS", "POSTRIDER_SMTP_URL", "POSTRIDER_FAILPOINT"]
    {
        command.env_remove(name);
    }
    command
}

/// `postrider run FILE --state-dir STATE`.
pub(crate) fn run_pipeline(file: &Path, state: &Path) -> Command {
    let mut command = postrider(["run"]);
    command.arg(file).arg("--state-dir").arg(state);
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

/// Writes a file into a directory.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// The JSON objects of an NDJSON text.
pub(crate) fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Finished {
    let started = Instant::now();
    let mut running = Running::start(command);
    let status = running.wait();
    let took = started.elapsed();
    Finished { status, out: running.rest_of_out(), err: running.rest_of_err(), took }
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
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// What follows `prefix` on the next line of standard output that has it.
    pub(crate) fn out_after(&self, prefix: &str) -> String {
        after(&self.out, prefix)
    }

    /// The same on standard error.
    pub(crate) fn err_after(&self, prefix: &str) -> String {
        after(&self.err, prefix)
    }

    /// The same, behind the lines that came before it.
    pub(crate) fn err_until(&self, prefix: &str) -> (String, String) {
        until(&self.err, prefix)
    }

    /// What came on standard error since somebody looked.
    pub(crate) fn new_err(&self) -> Vec<String> {
        self.err.try_iter().collect()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of the command", || !self.runs());
        self.child.wait().unwrap()
    }

    /// Asks it to stop, and returns its standard error once it did so in good order.
    pub(crate) fn stop(&mut self, signal: Signal) -> String {
        self.signal(signal);
        let status = self.wait();
        let err = self.rest_of_err();
        assert!(status.success(), "{status}\n{err}");
        err
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
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
    until(lines, prefix).1
}

fn until(lines: &Receiver<String>, prefix: &str) -> (String, String) {
    let until = Instant::now() + DEADLINE;
    let mut seen = String::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left);
        let line = line.unwrap_or_else(|_| panic!("no line starts with `{prefix}` in:\n{seen}"));
        if let Some(rest) = line.strip_prefix(prefix) {
            return (seen, rest.trim().to_owned());
        }
        seen.push_str(&line);
        seen.push('\n');
    }
}

/// Waits until `done` says so.
pub(crate) fn eventually(what: &str, done: impl FnMut() -> bool) {
    assert!(within(DEADLINE, done), "{what} did not come in time");
}

/// Whether `done` says so within some time.
pub(crate) fn within(time: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + time;
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}
