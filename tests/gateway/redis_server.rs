//! A real Redis server for the tests, on a port of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::harness::free_port;

/// Starts the server and kills it when its input ends, so that it goes even when the test program is killed.
const GUARD: &str = r#"redis-server "$@" & server=$!; read -r _; kill -9 $server; wait $server 2>/dev/null"#;

/// A server without persistence: what it holds is gone when it stops.
pub(crate) struct RedisServer {
    port: u16,
    guard: Mutex<Option<Child>>,
}

impl RedisServer {
    /// Starts a server that answers when this returns.
    pub(crate) fn start() -> Self {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        assert!(
            found.is_ok(),
            "redis-server is not installed; `./script/test` installs it, and so does `apt-get install redis-server`"
        );
        // Somebody else may take a port between finding and using it.
        let (port, guard) = (0..5)
            .find_map(|_| {
                let port = free_port();
                spawn(port).map(|guard| (port, guard))
            })
            .expect("redis-server starts");
        Self { port, guard: Mutex::new(Some(guard)) }
    }

    /// The server that tests share, each with its own prefix.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The server as `session.store` names it, with `prefix` before all keys.
    pub(crate) fn location(&self, prefix: &str) -> String {
        format!("redis://127.0.0.1:{}?prefix={prefix}:", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server.
    pub(crate) fn stop(&self) {
        if let Some(mut guard) = self.guard.lock().unwrap().take() {
            drop(guard.stdin.take());
            guard.wait().unwrap();
        }
    }

    /// Starts it again, empty, on the same port.
    pub(crate) fn start_again(&self) {
        *self.guard.lock().unwrap() = Some(spawn(self.port).expect("redis-server starts again"));
    }

    /// Sends one command as a person types it, and returns the first line of the answer.
    pub(crate) fn command(&self, command: &str) -> String {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(connection, "{command}\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(port: u16) -> Option<Child> {
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "redis", "--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir", env!("CARGO_TARGET_TMPDIR")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(guard.stdout.take().unwrap()).lines().map_while(Result::ok);
    // "Could not create server TCP listening socket", or the server itself: whatever comes first.
    let ready = log.any(|line| line.contains("Ready to accept connections") || line.contains("Failed listening"));
    if ready && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
        return Some(guard);
    }
    drop(guard.stdin.take());
    guard.wait().unwrap();
    None
}
