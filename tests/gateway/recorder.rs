//! An upstream that writes down every byte it is sent, and answers as the story tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::harness::eventually;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Request line and header fields, as they were sent.
    pub(crate) head: String,
    /// The body, without the marks of its chunks where it had them.
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of a field, in the order in which they came.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The names of all fields, in lower case.
    pub(crate) fn names(&self) -> Vec<String> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

/// The recorder.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
    answer: Arc<Mutex<Vec<u8>>>,
    serving: AbortHandle,
}

impl Recorder {
    /// A recorder that answers `200` with a short body.
    pub(crate) async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at an address where one was stopped.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()));
        let (recording, answering) = (Arc::clone(&requests), Arc::clone(&answer));
        let serving = tokio::spawn(async move {
            // Connections end with the recorder.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&recording), Arc::clone(&answering)));
            }
        });
        Self { address, requests, answer, serving: serving.abort_handle() }
    }

    /// Closes the port and every connection, as a program does that is killed.
    pub(crate) async fn stop(&self) {
        self.serving.abort();
        eventually(async || self.serving.is_finished()).await;
    }

    /// Answers so from now on. The bytes are sent as they are.
    pub(crate) fn answer_with(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.as_bytes().to_vec();
    }

    /// What was received so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request there was.
    pub(crate) fn only(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Recorded {
        self.requests().pop().expect("a request was forwarded")
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<Mutex<Vec<Recorded>>>, answer: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = Vec::new();
    while let Some(recorded) = read_request(&mut stream, &mut buffer).await {
        requests.lock().unwrap().push(recorded);
        let answer = answer.lock().unwrap().clone();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads one request by the letter of its own framing.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Recorded> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let field = |name: &str| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let mut body = Vec::new();
    if field("transfer-encoding").is_some() {
        loop {
            let size = loop {
                if let Some(end) = find(buffer, b"\r\n") {
                    break end;
                }
                more(stream, buffer).await?;
            };
            let length = usize::from_str_radix(std::str::from_utf8(&buffer[..size]).ok()?.trim(), 16).ok()?;
            buffer.drain(..size + 2);
            while buffer.len() < length + 2 {
                more(stream, buffer).await?;
            }
            body.extend(buffer.drain(..length));
            buffer.drain(..2);
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = field("content-length") {
        let length: usize = length.parse().ok()?;
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        body.extend(buffer.drain(..length));
    }
    Some(Recorded { head, body })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let read = stream.read(&mut chunk).await.ok()?;
    buffer.extend_from_slice(&chunk[..read]);
    (read > 0).then_some(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
