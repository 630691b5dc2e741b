//! A real application that lives on WebSockets: JupyterLab from PyPI, with the files of `examples/jupyterlab` and nothing
//! changed in them but ports and folders.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::{Answer, HOST, PATIENCE, Visitor};
use crate::program::{Home, Process, Program, replaced};
use crate::python::python_with;

const REQUIREMENTS: &str = "examples/jupyterlab/requirements.txt";
const CONFIG: &str = include_str!("../../examples/jupyterlab/jupyter_server_config.py");
const GATEWAY: &str = include_str!("../../examples/jupyterlab/gateway.toml");

/// JupyterLab with linkgate before it.
struct Lab {
    program: Program,
    jupyter: Process,
    address: SocketAddr,
    _home: Home,
}

impl Lab {
    async fn start() -> Self {
        let python = tokio::task::spawn_blocking(|| python_with("jupyterlab", REQUIREMENTS)).await.unwrap();
        // Somebody else may take a port between finding and using it.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let gateway = replaced(
                GATEWAY,
                &[
                    ("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\""),
                    ("listen = \"127.0.0.1:9180\"", "listen = \"127.0.0.1:0\""),
                    ("127.0.0.1:8888", &address.to_string()),
                ],
            );
            let home = Home::with(&gateway);
            let port = format!("c.ServerApp.port = {}", address.port());
            let config = [("c.ServerApp.port = 8888", &*port), ("target/jupyterlab/notebooks", ".")];
            home.write("jupyter_server_config.py", &replaced(CONFIG, &config));
            let mut command = Command::new(&python);
            // As root, which it else refuses, and with everything that it keeps in a home.
            command.args(["-m", "jupyterlab", "--allow-root", "--config", "jupyter_server_config.py"]);
            command.current_dir(home.path()).env("HOME", home.path()).stdin(Stdio::null());
            let jupyter = Process::spawn(command);
            if jupyter.find_line("is running at").await.is_some() {
                return Self { program: home.start().await, jupyter, address, _home: home };
            }
        }
        panic!("JupyterLab finds no free port");
    }

    /// Ada with JupyterLab's page open: her browser has its token against forged requests.
    async fn ada(&self) -> Visitor {
        let mut ada = self.program.signed_in("ada@example.com").await;
        let page = ada.open("/lab").await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        assert!(page.body.contains("<title>JupyterLab</title>"), "{page:?}");
        ada
    }

    /// The WebSocket of a kernel.
    async fn channels(&self, visitor: &Visitor, kernel: &str) -> Result<WebSocketStream<TcpStream>, Error> {
        let mut request = format!("ws://{HOST}/api/kernels/{kernel}/channels").into_client_request().unwrap();
        let cookies: Vec<_> = visitor.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers_mut().insert("cookie", cookies.join("; ").parse().unwrap());
        request.headers_mut().insert("origin", format!("http://{HOST}").parse().unwrap());
        let stream = TcpStream::connect(self.program.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| socket)
    }
}

/// Has a kernel begun.
async fn begin_kernel(visitor: &mut Visitor) -> Answer {
    let token = visitor.jar.get("_xsrf").cloned().unwrap_or_default();
    visitor.send(Method::POST, "/api/kernels", &[("x-xsrftoken", &token)], "{}").await
}

/// Runs code, and gives what it comes to.
async fn run(socket: &mut WebSocketStream<TcpStream>, code: &str) -> String {
    let request = json!({
        "channel": "shell", "parent_header": {}, "metadata": {}, "buffers": [],
        "header": {
            "msg_id": "1", "session": "story", "username": "", "date": "2027-01-15T08:00:00Z",
            "msg_type": "execute_request", "version": "5.3",
        },
        "content": {
            "code": code, "silent": false, "store_history": false, "allow_stdin": false, "user_expressions": {},
        },
    });
    socket.send(Message::text(request.to_string())).await.unwrap();
    let result = async {
        loop {
            let message = socket.next().await.expect("the socket is open").unwrap();
            let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            match message["msg_type"].as_str() {
                Some("execute_result") => return message["content"]["data"]["text/plain"].to_string(),
                Some("error") => panic!("{message}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, result).await.expect("the kernel answers")
}

#[tokio::test]
async fn code_runs_in_jupyterlab_until_its_author_signs_out() {
    let lab = Lab::start().await;
    let mut ada = lab.ada().await;
    let forged = [("x-forwarded-email", "bob@example.com"), ("x_forwarded_email", "bob@example.com")];
    let known = ada.send(Method::GET, "/api/me", &forged, "").await.json();
    assert_eq!(known["identity"]["username"], "ada@example.com", "{known}");

    let unmarked = ada.send(Method::POST, "/api/kernels", &[], "{}").await;
    assert_eq!(unmarked.status, StatusCode::FORBIDDEN, "JupyterLab sees whether its own page asked: {unmarked:?}");
    let kernel = begin_kernel(&mut ada).await;
    assert_eq!(kernel.status, StatusCode::CREATED, "{kernel:?}");
    let kernel = kernel.json()["id"].as_str().unwrap().to_owned();
    let mut socket = lab.channels(&ada, &kernel).await.expect("the handshake is accepted");
    assert_eq!(run(&mut socket, "6 * 7").await, "\"42\"");
    assert_eq!(run(&mut socket, "len('x' * 1_000_000)").await, "\"1000000\"");

    let page = ada.open("/.linkgate/sign-out").await;
    let signed_in = ada.clone();
    ada.post("/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await;
    let closed = async { while matches!(socket.next().await, Some(Ok(_))) {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the socket is closed");
    assert!(lab.channels(&signed_in, &kernel).await.is_err(), "her old cookie opens nothing any more");
}

#[tokio::test]
async fn nobody_else_reaches_jupyterlab() {
    let lab = Lab::start().await;
    let mut ada = lab.ada().await;
    let kernel = begin_kernel(&mut ada).await.json()["id"].as_str().unwrap().to_owned();
    let forged = [("x-forwarded-email", "ada@example.com"), ("authorization", "token x"), ("x-xsrftoken", "x")];

    let mut bob = lab.program.signed_in("bob@example.com").await;
    let mut stranger = lab.program.visitor();
    for (visitor, status) in [(&mut bob, StatusCode::FORBIDDEN), (&mut stranger, StatusCode::UNAUTHORIZED)] {
        let mut program = visitor.program();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            for path in ["/api/kernels", "/api/contents/stranger", "/static/stranger", "/lab?token=stranger"] {
                let refused = program.send(method.clone(), path, &forged, "{}").await;
                assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
            }
        }
        match lab.channels(visitor, &kernel).await {
            Err(Error::Http(refused)) => assert_eq!(refused.status(), status, "{refused:?}"),
            other => panic!("{other:?}"),
        }
    }
    let led = stranger.open("/lab/tree/notebook.ipynb").await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2Flab%2Ftree%2Fnotebook.ipynb");

    ada.open("/api/contents/last").await;
    lab.jupyter.text_line("/api/contents/last").await;
    let log = lab.jupyter.log();
    assert!(
        !log.iter().any(|line| line.contains("stranger") || line.contains(&format!("{kernel}/channels"))),
        "{log:#?}"
    );

    // The story would prove nothing if JupyterLab did not believe the header: whoever reaches it directly is Ada.
    let mut direct = Visitor::new(lab.address);
    assert_eq!(direct.open("/api/kernels").await.status, StatusCode::FORBIDDEN);
    let kernels = direct.send(Method::GET, "/api/kernels", &[("x-forwarded-email", "ada@example.com")], "").await;
    assert_eq!(kernels.json()[0]["id"], *kernel, "{kernels:?}");
}
