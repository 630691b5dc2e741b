//! The application that all proxies of the benchmark stand before. It costs next to nothing, so that what is measured is
//! the proxy: answers are ready, and of a request only its end is looked for.
//!
//! Every path has 1 KiB; `/large` has 1 MiB, `/echo` the head of the request as it arrived, and `/ws` sends each message
//! back. Requests have no bodies.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// More than any request here has, as what a proxy adds is a few lines.
const MOST_FIELDS: usize = 100;
const MOST_BYTES: usize = 64 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The answers that are always the same.
struct Answers {
    small: Answer,
    large: Answer,
}

/// An answer as it is on a connection that goes on, and as the last one of a connection.
struct Answer {
    kept: Vec<u8>,
    last: Vec<u8>,
}

impl Answer {
    fn with(body: &[u8]) -> Self {
        Self { kept: answer(body, ""), last: answer(body, "Connection: close\r\n") }
    }

    fn bytes(&self, closes: bool) -> &[u8] {
        if closes { &self.last } else { &self.kept }
    }
}

/// What a request asks for.
enum Wish {
    Small,
    Large,
    Echo,
    WebSocket { key: Vec<u8> },
}

struct Head {
    bytes: usize,
    wish: Wish,
    closes: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("usage: upstream ADDRESS:PORT")?.parse()?;
    let answers: &Answers = Box::leak(Box::new(Answers {
        small: Answer::with(&[b'x'; 1024]),
        large: Answer::with(&vec![b'x'; 1024 * 1024]),
    }));
    let listener = TcpListener::bind(address).await?;
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A proxy that goes away, or says what is no request, loses its connection and nothing else.
            serve(connection, answers).await.ok();
        });
    }
}

fn answer(body: &[u8], field: &str) -> Vec<u8> {
    let size = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{field}Content-Length: {size}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn serve(mut connection: TcpStream, answers: &Answers) -> Result<(), Failure> {
    connection.set_nodelay(true)?;
    let mut received = Vec::with_capacity(8 * 1024);
    loop {
        let head = loop {
            if let Some(head) = read(&received)? {
                break head;
            }
            if received.len() > MOST_BYTES || connection.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        match head.wish {
            Wish::Small => connection.write_all(answers.small.bytes(head.closes)).await?,
            Wish::Large => connection.write_all(answers.large.bytes(head.closes)).await?,
            Wish::Echo => {
                let echo = Answer::with(received.get(..head.bytes).unwrap_or_default());
                connection.write_all(echo.bytes(head.closes)).await?;
            }
            Wish::WebSocket { key } => {
                let rest = received.split_off(head.bytes);
                return echo_messages(connection, &key, rest).await;
            }
        }
        if head.closes {
            return Ok(());
        }
        received.drain(..head.bytes);
    }
}

/// The first request of what was received, once its head is whole.
fn read(received: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(bytes) = request.parse(received)? else { return Ok(None) };
    let field = |name: &str| {
        request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let path = request.path.and_then(|target| target.split('?').next()).unwrap_or_default();
    let wish = match path {
        "/large" => Wish::Large,
        "/echo" => Wish::Echo,
        "/ws" => field("sec-websocket-key").map_or(Wish::Small, |key| Wish::WebSocket { key: key.to_vec() }),
        _ => Wish::Small,
    };
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some(Head { bytes, wish, closes }))
}

/// Upgrades (RFC 6455 section 4.2.2) and sends back every message.
async fn echo_messages(mut connection: TcpStream, key: &[u8], rest: Vec<u8>) -> Result<(), Failure> {
    let accept = derive_accept_key(key);
    let upgraded = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    connection.write_all(upgraded.as_bytes()).await?;
    let mut messages = WebSocketStream::from_partially_read(connection, rest, Role::Server, None).await;
    while let Some(message) = messages.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            messages.send(message).await?;
        }
    }
    Ok(())
}
