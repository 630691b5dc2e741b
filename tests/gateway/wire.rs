//! A connection of a story's own: bytes out and bytes in, at the visitor's end or at the application's.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::{Answer, PATIENCE, read_answer};

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    /// The visitor's end.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// An end of a connection that is there already.
    pub(crate) const fn over(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The application's end of the next connection.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection comes").unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other end may have refused and closed before it has read everything.
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Sends no more.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// What comes, as far as `mark` and with it.
    pub(crate) async fn until(&mut self, mark: &str) -> String {
        let end = loop {
            let found = self.read.windows(mark.len()).position(|window| window == mark.as_bytes());
            if let Some(found) = found {
                break found + mark.len();
            }
            assert!(self.more().await, "closed before {mark:?}: {:?}", String::from_utf8_lossy(&self.read));
        };
        String::from_utf8(self.read.drain(..end).collect()).unwrap()
    }

    /// The header of a request or an answer.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// One answer that says its own length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut bytes = self.head().await;
        let head = read_answer(bytes.as_bytes());
        if let Some(length) = head.headers.get("content-length") {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            while self.read.len() < length {
                assert!(self.more().await, "closed within a body");
            }
            bytes.push_str(&String::from_utf8(self.read.drain(..length).collect()).unwrap());
        } else if head.headers.contains_key("transfer-encoding") {
            bytes.push_str(&self.until("0\r\n\r\n").await);
        }
        read_answer(bytes.as_bytes())
    }

    /// Everything that comes before the other end closes.
    pub(crate) async fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes().await).unwrap()
    }

    /// The same where it is no text.
    pub(crate) async fn rest_bytes(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("something happens");
        read.is_ok_and(|read| read > 0)
    }
}
