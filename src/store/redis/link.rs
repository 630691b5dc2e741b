//! The one connection that all calls share. It is made by the first call, and again by the first call after it was lost.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisError, RedisResult,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::super::OpenError;
use super::Address;

/// How long connecting may take, and how long each answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Calls that may wait to be sent.
const QUEUE: usize = 1024;

/// A client for the server at `address`. It connects when it is used.
pub(super) fn client(address: &Address, base_dir: &Path) -> Result<Client, OpenError> {
    let refused = |source| OpenError::Address { address: address.to_string(), source: Box::new(source) };
    // Protocol 3 has the server's messages and the loss of the connection pushed to us.
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(address.database.into());
    if let Some(user) = &address.user {
        login = login.set_username(user);
    }
    let unread = |source| OpenError::Password { address: address.to_string(), source };
    if let Some(password) = address.read_password(base_dir).map_err(unread)? {
        login = login.set_password(password.expose());
    }
    let info = endpoint(address).into_connection_info().map_err(refused)?;
    Client::open(info.set_redis_settings(login)).map_err(refused)
}

fn endpoint(address: &Address) -> ConnectionAddr {
    let (host, port) = (address.host.clone(), address.port);
    if address.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

/// Connects, and hands what the server pushes to `pushed`.
pub(super) async fn connect(
    client: Client,
    pushed: impl Fn(PushInfo) -> Result<(), ::redis::aio::SendError> + Send + Sync + 'static,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT))
        .set_pipeline_buffer_size(QUEUE)
        .set_push_sender(pushed);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Many callers, one connection; a failure to connect is shared by those who waited for it, and tried anew by the next.
pub(super) struct Link {
    client: Client,
    current: Arc<Mutex<Current>>,
}

#[derive(Default)]
struct Current {
    attempt: Option<Attempt>,
    /// Counts attempts, so that the loss of an old connection does not end a newer one.
    generation: u64,
}

type Attempt = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// The connection as one call uses it.
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: Arc::default() }
    }

    /// The connection, made first where there is none.
    pub(super) async fn line(&self) -> RedisResult<Line> {
        let (attempt, generation) = self.attempt();
        match attempt.await {
            Ok(connection) => Ok(Line { connection, generation }),
            Err(error) => {
                forget(&self.current, generation);
                Err(error)
            }
        }
    }

    /// Passes `answer` on, and gives the connection up if it is a sign that it is broken.
    pub(super) fn heard<T>(&self, line: &Line, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer
            && is_broken(error)
        {
            forget(&self.current, line.generation);
        }
        answer
    }

    fn attempt(&self) -> (Attempt, u64) {
        let mut current = lock(&self.current);
        if let Some(attempt) = &current.attempt {
            return (attempt.clone(), current.generation);
        }
        current.generation += 1;
        let (generation, shared) = (current.generation, Arc::downgrade(&self.current));
        let attempt = connect(self.client.clone(), move |push| {
            if push.kind == PushKind::Disconnection
                && let Some(current) = shared.upgrade()
            {
                forget(&current, generation);
            }
            Ok(())
        });
        let attempt = attempt.boxed().shared();
        current.attempt = Some(attempt.clone());
        (attempt, generation)
    }
}

/// A server that has become a replica refuses writes: the next connection may find the one that took over.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY")
}

fn forget(current: &Mutex<Current>, generation: u64) {
    let mut current = lock(current);
    if current.generation == generation {
        current.attempt = None;
    }
}

fn lock(current: &Mutex<Current>) -> MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
