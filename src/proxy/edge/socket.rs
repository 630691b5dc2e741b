//! A visitor's socket. What is written to it is gathered, so that the header of an answer and a body that is there by
//! then go out by one call of the system; nothing that was gathered waits for what may come later. Short answers go out
//! together with those of other connections.
//!
//! The framework's own listeners do the first by a buffer that only they can set.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::course::Course;
use super::silence::Silence;
use crate::round::Together;

/// So much is gathered at most: a header and a short body. What would not fit goes out together with what was gathered,
/// without being copied.
const MOST_GATHERED: usize = 4096;
/// How many pieces go out at once. The framework and rustls write one to three.
const MOST_PIECES: usize = 8;

/// A visitor's socket.
#[derive(Debug)]
pub(in crate::proxy) struct Socket {
    stream: TcpStream,
    /// What was read too far, to be read again.
    reread: Vec<u8>,
    gathered: Vec<u8>,
    /// With the other sockets.
    together: Together,
    digest: Option<Arc<SocketDigest>>,
    course: Arc<Course>,
}

impl Socket {
    /// What becomes of it is noted in `course`.
    pub(super) fn new(stream: TcpStream, course: Arc<Course>) -> Self {
        let (reread, gathered) = (Vec::new(), Vec::new());
        Self { stream, reread, gathered, together: Together::default(), digest: None, course }
    }

    /// Has `bytes` be read before all else.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.reread.splice(..0, bytes.iter().copied());
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(task, &self.gathered))?;
            self.take_sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what was sent off what was gathered, and gives how much more was sent.
    fn take_sent(&mut self, sent: usize) -> io::Result<usize> {
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let gathered = sent.min(self.gathered.len());
        self.gathered.drain(..gathered);
        Ok(sent - gathered)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.reread.is_empty() {
            let length = self.reread.len().min(buffer.remaining());
            buffer.put_slice(&self.reread[..length]);
            self.reread.drain(..length);
            return Poll::Ready(Ok(()));
        }
        // Whoever reads while an answer is under way waits for more of it. What is wrong with the socket is told by the
        // next write.
        let _: Poll<io::Result<()>> = self.poll_send(task);
        if self.course.is_given_up() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Silence)));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(task, buffer) {
            Poll::Pending if self.gathered.is_empty() => {
                let wait = self.course.wait();
                wait.register(task.waker());
                wait.begins();
                return Poll::Pending;
            }
            polled => {
                self.course.wait().ends();
                ready!(polled)?;
            }
        }
        if buffer.filled().len() > before && !self.course.heard() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(task, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.course.wait().ends();
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.gathered.len() + length <= MOST_GATHERED {
            // Where more is written than this, the others would wait for it. Why TLS fails is said in one try, or never.
            if self.gathered.is_empty() && self.course.is_open() {
                ready!(self.together.poll(task));
            }
            pieces.iter().for_each(|piece| self.gathered.extend_from_slice(piece));
            return Poll::Ready(Ok(length));
        }
        loop {
            let this = &mut *self;
            let mut all = [IoSlice::new(&[]); MOST_PIECES];
            all[0] = IoSlice::new(&this.gathered);
            let count = pieces.len().min(MOST_PIECES - 1);
            all[1..=count].copy_from_slice(&pieces[..count]);
            // An empty first piece costs nothing worth a second way.
            let sent = ready!(Pin::new(&mut this.stream).poll_write_vectored(task, &all[..=count]))?;
            let more = this.take_sent(sent)?;
            if more > 0 {
                return Poll::Ready(Ok(more));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.course.wait().ends();
        self.poll_send(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(task))?;
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The framework drops what it gave up, which it may have written an answer to.
        if !self.gathered.is_empty() {
            self.stream.try_write(&self.gathered).ok();
        }
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        if let Err(error) = tokio::io::AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "failed to shut a connection down");
        }
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl GetTimingDigest for Socket {
    /// linkgate keeps time itself.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.digest.clone()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.digest = Some(Arc::new(digest));
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl Ssl for Socket {}

impl Peek for Socket {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection that nothing was sent on.
    async fn accepted() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::new(listener.accept().await.unwrap().0, Arc::default()), visitor)
    }

    /// The same, where HTTP has begun.
    async fn pair() -> (Socket, TcpStream) {
        let (socket, visitor) = accepted().await;
        socket.course.opened();
        (socket, visitor)
    }

    /// What has arrived after `awaited` bytes were there.
    async fn arrived(visitor: &mut TcpStream, awaited: usize) -> usize {
        let mut bytes = vec![0; awaited];
        visitor.read_exact(&mut bytes).await.unwrap();
        let mut rest = [0; 64];
        awaited + visitor.try_read(&mut rest).unwrap_or(0)
    }

    #[tokio::test]
    async fn a_header_waits_for_what_is_written_next() {
        for (body, awaited) in [(1024, 0), (MOST_GATHERED - 200, 0), (MOST_GATHERED - 199, MOST_GATHERED + 1)] {
            let (mut socket, mut visitor) = pair().await;
            socket.write_all(&[b'h'; 200]).await.unwrap();
            assert_eq!(visitor.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            socket.write_all(&vec![b'b'; body]).await.unwrap();
            assert_eq!(arrived(&mut visitor, awaited).await, awaited);
            socket.flush().await.unwrap();
            assert_eq!(arrived(&mut visitor, 200 + body - awaited).await, 200 + body - awaited);
        }
    }

    #[tokio::test]
    async fn what_is_short_goes_out_after_the_rest_of_the_round_but_for_the_first() {
        let (mut socket, mut visitor) = pair().await;
        for (length, goes_at_once) in [(8, true), (8, false), (MOST_GATHERED, false), (MOST_GATHERED + 1, true)] {
            let bytes = vec![b'x'; length];
            let mut written = std::pin::pin!(socket.write(&bytes));
            assert_eq!(futures_util::poll!(&mut written).is_ready(), goes_at_once, "{length}");
            if !goes_at_once {
                assert_eq!(written.await.unwrap(), length);
            }
            socket.flush().await.unwrap();
            assert_eq!(arrived(&mut visitor, length).await, length);
        }
    }

    /// rustls tries once to say why a handshake failed, and what is not taken then is lost.
    #[tokio::test]
    async fn what_comes_ahead_of_http_waits_for_nobody() {
        let ((mut busy, _), (mut socket, mut visitor)) = (pair().await, accepted().await);
        busy.write_all(b"first of the round").await.unwrap();
        assert!(matches!(futures_util::poll!(std::pin::pin!(socket.write(b"alert"))), Poll::Ready(Ok(5))));
        drop(socket);
        assert_eq!(arrived(&mut visitor, 5).await, 5);
    }

    #[tokio::test]
    async fn nothing_waits_where_the_visitor_is_listened_to_or_gone_from() {
        let (mut socket, mut visitor) = pair().await;
        socket.write_all(b"early").await.unwrap();
        tokio::select! {
            biased;
            read = socket.read_u8() => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(arrived(&mut visitor, 5).await, 5);
        socket.write_all(b"last").await.unwrap();
        drop(socket);
        assert_eq!(arrived(&mut visitor, 4).await, 4);
    }

    #[tokio::test]
    async fn all_arrives_in_its_order_however_slowly_it_is_read() {
        let (mut socket, mut visitor) = pair().await;
        let pieces: Vec<Vec<u8>> = (0..200).map(|at: usize| vec![at.to_le_bytes()[0]; (at * 977) % 70_000]).collect();
        let expected = pieces.concat();
        let writing = async {
            for piece in &pieces {
                let (one, two) = piece.split_at(piece.len() / 3);
                let sent = socket.write_vectored(&[IoSlice::new(one), IoSlice::new(two)]).await.unwrap();
                socket.write_all(&piece[sent..]).await.unwrap();
            }
            Shutdown::shutdown(&mut socket).await;
        };
        let mut read = Vec::new();
        let reading = async { visitor.read_to_end(&mut read).await.unwrap() };
        tokio::join!(writing, reading);
        assert!(read == expected);
    }

    #[tokio::test]
    async fn what_was_read_too_far_is_read_again() {
        let (mut socket, mut visitor) = pair().await;
        socket.unread(b"and more");
        socket.unread(b"some ");
        visitor.write_all(b", the rest").await.unwrap();
        visitor.shutdown().await.unwrap();
        let mut read = String::new();
        socket.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "some and more, the rest");
    }
}
