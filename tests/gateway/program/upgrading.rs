//! Another version of the program takes over while this one runs: no request is lost, what is open goes on where it began,
//! and a version that cannot do the work changes nothing.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use command_fds::{CommandFdExt as _, FdMapping};
use futures_util::StreamExt as _;
use http::StatusCode;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::{Home, Process, Program, kill, replaced};
use crate::harness::{HOST, PATIENCE, Visitor, closed_port, configuration, eventually, with_routes};
use crate::recorder::Recorder;
use crate::streams::{echo, open_to};
use crate::wire::Wire;

const TAKEN_OVER: &str = "another program has taken over";

/// A configuration that is read again when it is asked for, with sessions that outlive a process.
fn text(upstream: SocketAddr) -> String {
    let text = configuration(upstream).replace("\"memory\"", "\"sqlite:store.db\"");
    format!("{text}[reload]\nwatch = false\n")
}

/// The same with the addresses that the program has by now.
fn at(program: &Program, text: &str) -> String {
    let listen = ("listen = \"127.0.0.1:0\"\nstop", format!("listen = \"{}\"\nstop", program.address));
    let admin = ("[admin]\nlisten = \"127.0.0.1:0\"", format!("[admin]\nlisten = \"{}\"", program.admin_address));
    replaced(text, &[(listen.0, &listen.1), (admin.0, &admin.1)])
}

impl Home {
    /// A copy of the program that can be replaced.
    fn program(&self) -> PathBuf {
        self.put(Path::new(env!("CARGO_BIN_EXE_linkgate")))
    }

    /// Puts `file` in the place of the program. Another process writes it: where this one has it open for writing, a
    /// child that another story starts at that moment keeps it from being run.
    fn put(&self, file: &Path) -> PathBuf {
        let (new, place) = (self.path().join("new"), self.path().join("linkgate"));
        assert!(Command::new("cp").args([file, &new]).status().unwrap().success());
        std::fs::rename(new, &place).unwrap();
        place
    }

    /// Starts the copy, and writes its addresses down for a successor.
    async fn start_copy(&self, text: &str) -> Program {
        let mut command = Command::new(self.program());
        command.current_dir(self.path());
        let program = Program::of(Process::spawn(command)).await;
        self.write("gateway.toml", &at(&program, text));
        program
    }
}

impl Program {
    async fn failed_upgrades(&self) -> String {
        let metrics = self.admin("/metrics").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("linkgate_upgrades_failed_total "));
        line.unwrap_or_else(|| panic!("not counted in {metrics}")).to_owned()
    }

    /// Has another program take over, and returns once it has.
    async fn upgrade(&self) {
        self.process.signal("USR2");
        self.process.text_line(TAKEN_OVER).await;
    }
}

/// Asks again and again on one connection for as long as it is kept, or on a new one each time; says how often.
async fn ask(address: SocketAddr, visitor: Visitor, keeps: bool, enough: watch::Receiver<bool>) -> usize {
    let fields = if keeps { "" } else { "Connection: close\r\n" };
    let cookie = visitor.session_cookie();
    let request = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n{fields}\r\n");
    let mut wire = Wire::connect(address).await;
    for asked in 0.. {
        if *enough.borrow() {
            return asked;
        }
        wire.send(&request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        if answer.headers.get("connection").is_some_and(|connection| connection == "close") {
            wire = Wire::connect(address).await;
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_and_nobody_has_to_sign_in_again() {
    let recorder = Recorder::start().await;
    let text = text(recorder.address);
    let home = Home::with(&text);
    let mut program = home.start().await;
    home.write("gateway.toml", &at(&program, &text));
    let ada = program.signed_in("ada@example.com").await;
    let (stop, enough) = watch::channel(false);
    let asking =
        [true, false, true].map(|keeps| tokio::spawn(ask(program.address, ada.clone(), keeps, enough.clone())));
    let quiet = Wire::connect(program.address).await;

    program.upgrade().await;
    drop(quiet);
    assert_eq!(program.process.left().await, Some(0));
    stop.send_replace(true);
    let mut asked = 0;
    for asking in asking {
        asked += asking.await.expect("every request is answered");
    }
    assert_eq!(recorder.requests().len(), asked, "each is forwarded once");
    assert_eq!(program.again(&ada).open("/").await.status, StatusCode::OK);
    assert_eq!(program.admin("/health/ready").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_ends_with_the_request_that_comes_next_on_it() {
    let recorder = Recorder::start().await;
    let text = text(recorder.address);
    let home = Home::with(&text);
    let mut program = home.start().await;
    home.write("gateway.toml", &at(&program, &text));
    let mut wire = Wire::connect(program.address).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n\r\n");
    wire.send(&request).await;
    assert_ne!(wire.answer().await.header("connection"), "close");

    program.upgrade().await;
    program.process.text_line("open requests have 1h to end").await;
    wire.send(&request).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (StatusCode::UNAUTHORIZED, "close"));
    assert_eq!(wire.rest().await, "");
    assert_eq!(program.process.left().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_goes_on_where_it_began_and_the_old_program_ends_with_it() {
    let text = with_routes(&text(closed_port().await), "[[route]]\nupstream = \"demo\"\n[reload]\nwatch = false\n");
    let text = replaced(&text, &[("stop_timeout = \"5s\"", "stop_timeout = \"1d\"")]);
    let home = Home::with(&text);
    let mut program = home.start().await;
    home.write("gateway.toml", &at(&program, &text));
    let ada = program.signed_in("ada@example.com").await;
    let mut socket = open_to(program.address, &ada, "/ws").await;
    assert_eq!(echo(&mut socket, "before").await, Some(Message::text("before")));

    program.upgrade().await;
    program.process.text_line("open requests have 1h to end").await;
    assert_eq!(echo(&mut socket, "after").await, Some(Message::text("after")));
    assert_eq!(program.again(&ada).open("/").await.status, StatusCode::OK);
    let successor = program.process.successor().await;

    // Only inheritance shares a port: it is free when the successor has ended, though its predecessor goes on.
    assert!(kill("KILL", successor));
    program.process.text_line("the program that took over has ended").await;
    eventually(async || TcpListener::bind(program.address).is_ok()).await;
    let again = home.start().await;
    assert_eq!((again.address, again.admin_address), (program.address, program.admin_address));
    assert_eq!(again.again(&ada).open("/").await.status, StatusCode::OK);

    assert_eq!(echo(&mut socket, "still").await, Some(Message::text("still")));
    assert!(!program.process.has_left());
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    assert_eq!(program.process.left().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_is_ended_after_a_while_and_at_once_when_asked() {
    for (timeout, signal) in [("upgrade_timeout = \"100ms\"\n", None), ("", Some("TERM"))] {
        let text = with_routes(&text(closed_port().await), "[[route]]\nupstream = \"demo\"\n");
        let text = replaced(&text, &[("stop_timeout = \"5s\"\n", &format!("stop_timeout = \"100ms\"\n{timeout}"))]);
        let home = Home::with(&text);
        let mut program = home.start().await;
        home.write("gateway.toml", &at(&program, &text));
        let ada = program.signed_in("ada@example.com").await;
        let mut socket = open_to(program.address, &ada, "/ws").await;
        assert_eq!(echo(&mut socket, "before").await, Some(Message::text("before")));
        program.upgrade().await;
        if let Some(signal) = signal {
            program.process.text_line("open requests have 1h to end").await;
            program.process.signal(signal);
        }
        program.process.text_line("stopped with connections open").await;
        assert_eq!(program.process.left().await, Some(0));
        assert_eq!(program.again(&ada).open("/").await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_upgrades_where_the_program_was_replaced_and_only_there() {
    let recorder = Recorder::start().await;
    let text = text(recorder.address);
    let home = Home::with(&text);
    let mut program = home.start_copy(&text).await;
    program.process.signal("HUP");
    program.process.text_line("the configuration was reloaded").await;
    assert!(program.process.successors().is_empty());

    home.program();
    program.process.signal("HUP");
    program.process.text_line(TAKEN_OVER).await;
    assert_eq!(program.process.left().await, Some(0));
    assert_eq!(program.admin("/health/ready").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_cannot_do_the_work_leaves_the_old_program_serving() {
    let recorder = Recorder::start().await;
    let text = text(recorder.address);
    let home = Home::with(&text);
    let program = home.start_copy(&text).await;
    let good = at(&program, &text);
    let ada = program.signed_in("ada@example.com").await;
    let goes_on = async |failed: &str, why: &str| {
        program.process.text_line(why).await;
        eventually(async || program.failed_upgrades().await == failed).await;
        assert_eq!(program.again(&ada).open("/").await.status, StatusCode::OK);
        assert_eq!(program.admin("/health/ready").await.status, StatusCode::OK);
    };
    assert_eq!(program.failed_upgrades().await, "0");

    home.write("gateway.toml", &format!("{good}acess = 1\n"));
    program.process.signal("USR2");
    goes_on("1", "it ended (exit status: 2)").await;

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("[admin]\nlisten = \"{}\"", other.local_addr().unwrap());
    let admin = format!("[admin]\nlisten = \"{}\"", program.admin_address);
    home.write("gateway.toml", &replaced(&good, &[(&admin, &taken)]));
    program.process.signal("USR2");
    goes_on("2", "failed to listen on").await;

    home.write("gateway.toml", &good);
    home.put(Path::new("/bin/false"));
    program.process.signal("HUP");
    goes_on("3", "it ended (exit status: 1)").await;

    home.put(&home.path().join("gateway.toml"));
    program.process.signal("HUP");
    goes_on("4", "\"error\":\"start `").await;

    home.program();
    program.upgrade().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_stops_takes_a_successor_that_is_not_ready_with_it() {
    let text = text(closed_port().await);
    let home = Home::with(&text);
    let program = home.start_copy(&text).await;
    home.write("slow", "#!/bin/sh\necho $$ > written && mv written pid\nexec sleep 1000\n");
    let slow = home.path().join("slow");
    assert!(Command::new("chmod").arg("755").arg(&slow).status().unwrap().success());
    home.put(&slow);
    program.process.signal("HUP");
    let pid = home.path().join("pid");
    eventually(async || pid.exists()).await;
    let successor = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    assert!(kill("0", successor));
    program.process.signal("TERM");
    assert_eq!(program.process.ended().await.code, Some(0));
    assert!(!kill("0", successor));
}

#[tokio::test]
async fn sessions_that_would_end_with_the_program_keep_it_where_it_is() {
    let home = Home::with(&configuration(closed_port().await));
    let program = home.start().await;
    program.process.signal("USR2");
    let line = program.process.line("failed to upgrade: this program goes on").await;
    assert_eq!(
        line["error"],
        "hand over to another program: share the sessions: with `session.store = \"memory\"` they end with this program; \
         restart it, or use another store"
    );
    assert_eq!(program.failed_upgrades().await, "1");
}

#[tokio::test]
async fn sockets_that_the_environment_hands_over_are_used_and_others_closed() {
    let text = text(closed_port().await);
    let home = Home::with("");
    let [listen, admin, unused] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second, third] = [&listen, &admin, &unused].map(|listener| listener.local_addr().unwrap());
    let addresses = [
        ("listen = \"127.0.0.1:0\"\nstop", format!("listen = \"{first}\"\nstop")),
        ("[admin]\nlisten = \"127.0.0.1:0\"", format!("[admin]\nlisten = \"{second}\"")),
    ];
    home.write(
        "gateway.toml",
        &replaced(&text, &[(addresses[0].0, &addresses[0].1), (addresses[1].0, &addresses[1].1)]),
    );
    let mut command = home.command(&[]);
    let handed = [listen, unused, admin].map(OwnedFd::from);
    let handed = handed.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(handed.collect()).unwrap().env("LISTEN_FDS", "3");
    let process = Process::spawn(command);
    // What the command holds is the child's alone from now on.
    let program = Program::of(process).await;
    assert_eq!((program.address, program.admin_address), (first, second));
    let line = program.process.line("closed an inherited socket: no setting names its address").await;
    assert_eq!((&line["address"], &line["level"]), (&third.to_string().into(), &"WARN".into()));
    TcpListener::bind(third).unwrap();
}

#[tokio::test]
async fn systemd_is_told_which_process_the_service_is() {
    let text = text(closed_port().await);
    let home = Home::with(&text);
    let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("something is told");
        String::from_utf8_lossy(&bytes[..length]).trim().replace('\n', " ")
    };
    let mut command = home.command(&[]);
    command.env("NOTIFY_SOCKET", home.path().join("notify"));
    let mut program = Program::of(Process::spawn(command)).await;
    home.write("gateway.toml", &at(&program, &text));
    assert_eq!(told(), "READY=1");
    program.process.signal("USR2");
    assert!(told().starts_with("RELOADING=1 MONOTONIC_USEC="));
    assert_eq!(told(), "READY=1", "the successor, to whom nobody listens yet");
    let main = told();
    let successor = program.process.successor().await;
    assert_eq!(main, format!("MAINPID={successor} READY=1"));
    assert_eq!(program.process.left().await, Some(0));
    assert!(kill("TERM", successor));
    assert_eq!(told(), "STOPPING=1", "the old one has said nothing more");
}
