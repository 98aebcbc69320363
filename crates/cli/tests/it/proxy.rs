//! A way to a server that a test can cut, and on which it can change what is asked.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// What asks a store to create an object only if it is not there, and a name that no server knows.
const CONDITION: (&[u8], &[u8]) = (b"if-none-match", b"x-nobody-cares");

/// Passes connections on to one address, until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    cut: AtomicBool,
    /// Whether conditions on requests are left out.
    careless: bool,
    /// Connections that were broken because the way is cut.
    broken: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A way to a server, `host:port`.
    pub(crate) fn to(server: &str) -> Self {
        Self::start(server, false)
    }

    /// A way to a server that overwrites where it is told to create.
    pub(crate) fn careless(server: &str) -> Self {
        Self::start(server, true)
    }

    fn start(server: &str, careless: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            cut: AtomicBool::new(false),
            careless,
            broken: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                shared.pass_on(client.unwrap());
            }
        });
        proxy
    }

    /// Breaks every connection, and each that comes.
    pub(crate) fn cut(&self) {
        let mut open = self.shared.open.lock().unwrap();
        self.shared.cut.store(true, Ordering::SeqCst);
        for stream in open.drain(..) {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// How many connections came while it was cut.
    pub(crate) fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, client: TcpStream) {
        let mut open = self.open.lock().unwrap();
        if self.cut.load(Ordering::SeqCst) {
            self.broken.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let server = TcpStream::connect(&self.server).unwrap();
        let copy = |stream: &TcpStream| stream.try_clone().unwrap();
        open.extend([copy(&client), copy(&server)]);
        let careless = self.careless;
        let (request, answer) = ((copy(&client), copy(&server)), (server, client));
        thread::spawn(move || pump(request.0, request.1, careless));
        thread::spawn(move || pump(answer.0, answer.1, false));
    }
}

/// Passes bytes on until either side closes.
fn pump(mut from: TcpStream, mut to: TcpStream, careless: bool) {
    let mut buffer = [0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        let mut bytes = buffer[..read].to_vec();
        let (condition, nothing) = CONDITION;
        if careless
            && let Some(at) = bytes.windows(condition.len()).position(|part| part == condition)
        {
            bytes.splice(at..at + condition.len(), nothing.iter().copied());
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Either may be closed already.
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}
