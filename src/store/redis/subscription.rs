//! Announcements, heard on a connection of their own that is made again whenever it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Cmd, Msg, PushInfo, PushKind, RedisResult};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::super::Announcement;
use super::super::listeners::Listeners;
use super::link;

/// How often a quiet connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) struct Subscription {
    client: Client,
    channel: String,
    listeners: Arc<Listeners>,
    task: Mutex<Option<(JoinHandle<()>, watch::Receiver<State>)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
}

impl Subscription {
    pub(super) fn new(client: Client, channel: String) -> Self {
        Self { client, channel, listeners: Arc::default(), task: Mutex::default() }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// One more listener, once the server knows that we listen. While it cannot be reached there is nothing to wait
    /// for: the listener is told `Missed` when it is back.
    pub(super) async fn listen(&self) -> mpsc::Receiver<Announcement> {
        let mut state = self.state();
        // The task is gone only with its runtime, and then nobody listens either.
        let _ = state.wait_for(|state| *state != State::Connecting).await;
        self.listeners.add()
    }

    fn state(&self) -> watch::Receiver<State> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((running, state)) = &*task
            && !running.is_finished()
        {
            return state.clone();
        }
        let (report, state) = watch::channel(State::Connecting);
        let following = follow(self.client.clone(), self.channel.clone(), Arc::clone(&self.listeners), report);
        *task = Some((tokio::spawn(following), state.clone()));
        state
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some((running, _)) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            running.abort();
        }
    }
}

async fn follow(client: Client, channel: String, listeners: Arc<Listeners>, report: watch::Sender<State>) {
    let mut pause = PAUSES.0;
    loop {
        let lost = Arc::new(Notify::new());
        match subscribe(client.clone(), &channel, Arc::clone(&listeners), Arc::clone(&lost)).await {
            Ok(connection) => {
                // Whoever listened before this moment may have missed something; who waits for `Up` has not.
                listeners.tell(&Announcement::Missed);
                report.send_replace(State::Up);
                pause = PAUSES.0;
                stay(connection, &lost).await;
                tracing::warn!("the connection that revocations arrive on was lost");
            }
            Err(error) => tracing::debug!(error = %error, "revocations cannot be listened to for now"),
        }
        report.send_replace(State::Down);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn subscribe(
    client: Client,
    channel: &str,
    listeners: Arc<Listeners>,
    lost: Arc<Notify>,
) -> RedisResult<MultiplexedConnection> {
    let mut connection = link::connect(client, move |push| {
        hear(push, &listeners, &lost);
        Ok(())
    })
    .await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}

fn hear(push: PushInfo, listeners: &Listeners, lost: &Notify) {
    match push.kind {
        PushKind::Disconnection => lost.notify_one(),
        PushKind::Message => {
            // Something that is no text was not announced by us, and may stand for anything.
            let text = Msg::from_push_info(push).and_then(|message| message.get_payload().ok());
            listeners.tell(&text.map_or(Announcement::Missed, Announcement::Message));
        }
        _ => {}
    }
}

/// Returns when the connection is lost, or no longer answers.
async fn stay(mut connection: MultiplexedConnection, lost: &Notify) {
    loop {
        tokio::select! {
            () = lost.notified() => return,
            () = tokio::time::sleep(PING_EVERY) => {
                if Cmd::new().arg("PING").exec_async(&mut connection).await.is_err() {
                    return;
                }
            }
        }
    }
}
