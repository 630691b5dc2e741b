//! The program as operators meet it: a process with a configuration file, signals, exit codes and logs.
//!
//! Its clock is the machine's. What a story waits for is a line of log, an answer or the end of the process.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use http::StatusCode;
use linkgate::secret::random_token;
use serde_json::Value;
use tokio::sync::watch;

use crate::harness::{Answer, HOST, PATIENCE, Visitor, configuration, eventually, exchange};

mod commands;
mod developing;
mod directory;
mod doctor;
mod explaining;
mod grants;
mod import;
mod initial;
mod login;
mod reloading;
mod restarting;
mod running;
mod sessions;
mod stopping;
mod tls_server;
mod tokens;
mod upgrading;
mod users;

/// A file of the repository with some of its parts replaced, each of which is in it once.
pub(crate) fn replaced(text: &str, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(text.to_owned(), |text, (part, other)| {
        assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        text.replace(part, other)
    })
}

/// A folder of the story's own with a `gateway.toml`; it goes with everything in it.
pub(crate) struct Home(PathBuf);

impl Home {
    /// A folder whose `gateway.toml` is `text`.
    pub(crate) fn with(text: &str) -> Self {
        let home = Self(std::env::temp_dir().join(format!("linkgate-{}", random_token().expose())));
        fs::create_dir(&home.0).unwrap();
        home.write("gateway.toml", text);
        home
    }

    /// A folder with a gateway before `upstream` that keeps its sessions in `store.db`.
    pub(crate) fn before(upstream: SocketAddr) -> Self {
        Self::with(&configuration(upstream).replace("\"memory\"", "\"sqlite:store.db\""))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// The program with these arguments, here.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linkgate"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// Starts the program with these arguments.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Process::spawn(self.command(arguments)).ended().await
    }

    /// Starts the program, and returns once it is ready.
    pub(crate) async fn start(&self) -> Program {
        Program::of(Process::spawn(self.command(&[]))).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A gateway that runs as a process.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    /// The host that visitors say.
    pub(crate) host: String,
    pub(crate) process: Process,
}

impl Program {
    /// The gateway that a process runs, once it is ready.
    pub(crate) async fn of(process: Process) -> Self {
        let line = process.line("linkgate is running").await;
        let address = |name: &str| line[name].as_str().and_then(|address| address.parse().ok());
        let program = Self {
            address: address("listen").unwrap_or_else(|| panic!("no `listen` in {line}")),
            admin_address: address("admin.listen").unwrap_or_else(|| panic!("no `admin.listen` in {line}")),
            host: HOST.to_owned(),
            process,
        };
        let ready = async { while program.admin("/health/ready").await.status != StatusCode::OK {} };
        tokio::time::timeout(PATIENCE, ready).await.expect("the program becomes ready");
        program
    }

    /// Somebody with an empty cookie jar.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { host: self.host.clone(), ..Visitor::new(self.address) }
    }

    /// The same visitor after the program came back on other ports.
    pub(crate) fn again(&self, visitor: &Visitor) -> Visitor {
        let mut again = self.visitor();
        again.jar.clone_from(&visitor.jar);
        again
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(self.admin_address, request.as_bytes()).await
    }

    /// The newest mail to `address`, once there is one.
    pub(crate) async fn mail(&self, address: &str) -> Value {
        let mut program = self.visitor().program();
        let path = format!("/.linkgate/mailbox/latest?to={address}");
        let arrives = async {
            loop {
                let answer = program.open(&path).await;
                if answer.status == StatusCode::OK {
                    return answer.json();
                }
            }
        };
        tokio::time::timeout(PATIENCE, arrives).await.expect("the mail arrives")
    }

    /// Follows the newest mail's link as far as the callback, which gives the session.
    pub(crate) async fn follow_link(&self, visitor: &mut Visitor, address: &str) {
        let mail = self.mail(address).await;
        let callback = visitor.press(mail["link"].as_str().unwrap()).await;
        let landed = visitor.open(&callback).await;
        assert!(landed.gives_session(), "{landed:?}");
    }

    /// Somebody who is signed in as `address`.
    pub(crate) async fn signed_in(&self, address: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.ask_for_link(address, "/").await;
        self.follow_link(&mut visitor, address).await;
        visitor
    }

    /// Ends the program as a power cut does: it is not asked.
    pub(crate) async fn kill(mut self) {
        self.process.child.kill().unwrap();
        self.process.ended().await;
    }
}

/// What a process left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process whose output is read as it comes, with that of its successors. They are killed when the story ends.
pub(crate) struct Process {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    log: watch::Receiver<Vec<String>>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, log) = watch::channel(Vec::new());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.send_modify(|lines| lines.push(line));
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, stdout: Some(stdout), log }
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The first line that contains `text`, once there is one; `None` when the process ends without.
    pub(crate) async fn find_line(&self, text: &str) -> Option<String> {
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let mut log = self.log.clone();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(|lines| find(lines).is_some())).await;
        let found = found.unwrap_or_else(|_| panic!("no line with {text:?}: {:#?}", self.log()));
        found.ok().and_then(|lines| find(&lines))
    }

    /// The same of a process that does not end before.
    pub(crate) async fn text_line(&self, text: &str) -> String {
        self.find_line(text).await.unwrap_or_else(|| panic!("no line with {text:?}: {:#?}", self.log()))
    }

    /// The same of a log in JSON.
    pub(crate) async fn line(&self, text: &str) -> Value {
        serde_json::from_str(&self.text_line(text).await).unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.child.id()));
    }

    /// The processes that took over from it, or tried to.
    pub(crate) fn successors(&self) -> Vec<u32> {
        let running = |line: &String| {
            let line: Value = serde_json::from_str(line).ok()?;
            let id = u32::try_from(line["process.id"].as_u64()?).ok()?;
            line["message"].as_str()?.ends_with(" is running").then_some(id)
        };
        self.log().iter().filter_map(running).filter(|id| *id != self.child.id()).collect()
    }

    /// The process that took over from it, once it has said that it is running.
    pub(crate) async fn successor(&self) -> u32 {
        eventually(async || !self.successors().is_empty()).await;
        let [successor] = self.successors().try_into().expect("one process takes over");
        successor
    }

    /// Waits until the process itself has ended, whoever has taken over from it, and gives its exit code.
    pub(crate) async fn left(&mut self) -> Option<i32> {
        eventually(async || self.has_left()).await;
        self.child.wait().unwrap().code()
    }

    pub(crate) fn has_left(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(mut self) -> Ended {
        // The end of a process closes its stderr.
        let closed = async { while self.log.changed().await.is_ok() {} };
        let closed = tokio::time::timeout(PATIENCE, closed).await;
        assert!(closed.is_ok(), "the process does not end: {:#?}", self.log());
        let status = self.child.wait().unwrap();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        Ended { code: status.code(), stdout, stderr: self.log().iter().map(|line| format!("{line}\n")).collect() }
    }
}

/// Sends a signal to a process; says whether it was there.
pub(crate) fn kill(signal: &str, process: u32) -> bool {
    let command = format!("kill -{signal} {process}");
    Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status().unwrap().success()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        for successor in self.successors() {
            kill("KILL", successor);
        }
    }
}
