//! The upgrade of the program while it runs: a successor inherits the listening sockets, and both serve until what was
//! begun here has ended. A successor that does not become ready leaves no trace.

use std::fs::Metadata;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream as Line;

use crate::gateway::Unshared;

/// The time for a successor to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at whether one that has hung up has ended, and how long to wait between two times.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// The first file that a program inherits beside its standard ones (sd_listen_fds(3)).
const FIRST: i32 = 3;
/// What a successor says when it is ready.
const READY: &[u8; 1] = b".";

/// Why there is no successor. The present program goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It could not go on with what there is.
    #[error("hand over to another program")]
    Unshared(#[from] Unshared),
    /// A container ends with its first process.
    #[error(
        "start another program: this one is the first process here, and its end would be everybody's; replace the container"
    )]
    First,
    /// There is no line to it.
    #[error("make a line to another program")]
    Line(#[source] io::Error),
    /// It cannot be started.
    #[error("start `{program}`")]
    Start {
        /// Where it is.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended, which its own log explains.
    #[error("see the new program ready: it ended ({0})")]
    Ended(String),
    /// It is not ready in time.
    #[error("see the new program ready within {} seconds", PATIENCE.as_secs())]
    Slow,
}

/// The file that this program was started from.
pub(super) struct Program {
    path: PathBuf,
    began_as: Option<Version>,
}

/// What tells two files at one path apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Version {
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified, size: metadata.size() }
    }
}

impl Program {
    /// This program. Must be asked when it begins: later its file may be another's.
    ///
    /// # Errors
    /// When the system does not know where it is.
    pub(super) fn this() -> io::Result<Self> {
        let image = std::env::current_exe()?;
        let began_as = Version::at(&image);
        // A symbolic link may lead to another version later, so it counts how the program was called.
        let called = std::env::args_os().next().map(PathBuf::from).filter(|name| name.components().count() > 1);
        let called = called.and_then(|name| std::path::absolute(name).ok());
        let path = called.filter(|called| Version::at(called) == began_as).unwrap_or(image);
        Ok(Self { path, began_as })
    }

    /// Whether another program is in its place by now.
    pub(super) fn was_replaced(&self) -> bool {
        let present = Version::at(&self.path);
        present.is_some() && present != self.began_as
    }

    /// Starts what is in its place now with the same arguments, and waits until it serves on `listeners` too.
    ///
    /// # Errors
    /// Why it does not, in which case it is gone, as it is when nobody waits any longer.
    pub(super) async fn start_successor(&self, listeners: Vec<TcpListener>) -> Result<Successor, Error> {
        if std::process::id() == 1 {
            return Err(Error::First);
        }
        let (ours, theirs) = UnixStream::pair().map_err(Error::Line)?;
        ours.set_nonblocking(true).map_err(Error::Line)?;
        let mut ours = Line::from_std(ours).map_err(Error::Line)?;
        let started = self.spawn(listeners, theirs)?;
        let mut word = [0; READY.len()];
        match tokio::time::timeout(PATIENCE, ours.read_exact(&mut word)).await {
            Ok(Ok(_)) => Ok(started.let_go(ours)),
            Ok(Err(_)) => Err(Error::Ended(started.ended().await)),
            Err(_) => Err(Error::Slow),
        }
    }

    fn spawn(&self, listeners: Vec<TcpListener>, line: UnixStream) -> Result<Started, Error> {
        let handed = listeners.into_iter().map(OwnedFd::from).chain([OwnedFd::from(line)]);
        let mappings: Vec<FdMapping> =
            handed.zip(FIRST..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
        let mut command = Command::new(&self.path);
        command.args(std::env::args_os().skip(1)).env("LISTEN_FDS", mappings.len().to_string());
        for other in ["LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"] {
            command.env_remove(other);
        }
        let start = |source| Error::Start { program: self.path.display().to_string(), source };
        command.fd_mappings(mappings).map_err(|collision| start(io::Error::other(collision)))?;
        command.spawn().map(|child| Started(Some(child))).map_err(start)
    }
}

/// A program that has taken over.
pub(super) struct Successor {
    /// Its process ID.
    pub(super) process: u32,
    line: Line,
}

impl Successor {
    /// Returns when it has ended. It is not waited for: systemd, which gets it when this program has ended, wants to
    /// know how.
    pub(super) async fn ended(&mut self) {
        // It says nothing more, and keeps its end open for as long as it lives.
        self.line.read_u8().await.ok();
    }
}

/// A program that ends with this value, unless it is let go.
struct Started(Option<Child>);

impl Started {
    fn let_go(mut self, line: Line) -> Successor {
        Successor { process: self.0.take().map_or(0, |child| child.id()), line }
    }

    /// Says how it ended, or ends it when it has hung up and goes on.
    async fn ended(mut self) -> String {
        let mut ended = self.look();
        for _ in 0..LOOKS {
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            ended = self.look();
        }
        ended.or_else(|| self.kill()).unwrap_or_else(|| "nobody knows how".to_owned())
    }

    fn look(&mut self) -> Option<String> {
        self.0.as_mut()?.try_wait().ok()?.map(|status| status.to_string())
    }

    fn kill(&mut self) -> Option<String> {
        let mut child = self.0.take()?;
        child.kill().ok();
        child.wait().ok().map(|status| status.to_string())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tells the predecessor on the other end of `line` that it may leave, once `ready` is over. Does not return: the line
/// is open for as long as this program lives.
pub(super) async fn take_over(mut line: UnixStream, ready: impl Future<Output = ()>) {
    ready.await;
    match line.write_all(READY) {
        Ok(()) => tracing::info!("took over from the program before this one"),
        Err(error) => tracing::warn!(%error, "failed to tell the program before this one that it may leave"),
    }
    std::future::pending::<()>().await;
    drop(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_is_noticed_and_none_is_not() {
        let path = std::env::temp_dir().join(format!("linkgate-{}", crate::secret::random_token().expose()));
        std::fs::write(&path, "one").unwrap();
        let program = Program { path: path.clone(), began_as: Version::at(&path) };
        assert!(!program.was_replaced());
        std::fs::remove_file(&path).unwrap();
        assert!(!program.was_replaced(), "a package manager is between two files");
        std::fs::write(&path, "another").unwrap();
        assert!(program.was_replaced());
        std::fs::remove_file(&path).unwrap();
    }
}
