//! The queue of mails, and the worker that delivers them.
//!
//! A mail waits in the store until the server has accepted it or what it carries has expired, so it outlives a
//! restart, also one with another password: a wrong one is why most queues are full. So it lies there as it is, like
//! the signing keys. Who can read the issuer's store can sign in as anybody in any case.
//!
//! Instances over one store share the queue. Whoever holds a mail's lease sends it; a failed mail's lease stands
//! until it is due again, and the lease of an instance that died ends by itself.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Mail;
use super::letter::Head;
use super::smtp::{Failure, Transport};
use super::trouble::{Trouble, pause};
use crate::clock::{Clock, Timestamp};
use crate::issuer::records;
use crate::secret::random_token;
use crate::store::{self, Shared};
use crate::telemetry::Metrics;

/// The set of the names of all waiting mails.
const INDEX: &str = "issuer/mail_queue";
/// An expired mail stays for so long, to be counted.
const GRACE: Duration = Duration::from_secs(3600);
/// How often the queue is looked at for what other instances put there, and for what is due again.
const POLL: Duration = Duration::from_millis(500);
/// How long a lease is good, and how often it is renewed while a mail is being sent.
const LEASE: Duration = Duration::from_secs(20);
const RENEWAL: Duration = Duration::from_secs(5);
/// Mails that are being sent at once: a slow recipient holds nobody else up.
const AT_ONCE: usize = 4;

/// Mails on their way out.
pub(in crate::issuer) struct Outbox {
    store: Shared,
    clock: Clock,
    transport: Transport,
    head: Head,
    news: Notify,
    trouble: Trouble,
}

/// Who is told what the worker does.
pub(in crate::issuer) struct Observers {
    pub(in crate::issuer) metrics: Arc<Metrics>,
    /// Hears why mails cannot be delivered just now, and `None` when they can again.
    pub(in crate::issuer) tell: Box<dyn Fn(Option<String>) + Send + Sync>,
}

fn mail_key(id: &str) -> String {
    format!("issuer/queued_mail/{id}")
}

fn lease_key(id: &str) -> String {
    format!("issuer/queued_mail_lease/{id}")
}

impl Outbox {
    pub(super) fn new(store: Shared, clock: Clock, transport: Transport, head: Head) -> Self {
        Self { store, clock, transport, head, news: Notify::new(), trouble: Trouble::default() }
    }

    /// Puts the mail into the queue.
    pub(super) async fn add(&self, mail: &Mail) -> Result<(), store::Error> {
        let id = random_token().expose().clone();
        let expires_at = mail.expires_at.plus(GRACE);
        records::save(self.store.as_ref(), &mail_key(&id), mail, expires_at).await?;
        self.store.index_add(INDEX, &id, expires_at).await?;
        self.news.notify_one();
        Ok(())
    }

    /// Delivers what is in the queue and what comes, until told to stop; what is being sent is finished.
    pub(in crate::issuer) async fn work(self: &Arc<Self>, mut stopping: watch::Receiver<bool>, observers: Observers) {
        let observers = Arc::new(observers);
        let mut sending = JoinSet::new();
        // Mails that are not due yet, so that the store is not asked for their leases again and again.
        let mut waiting = HashMap::new();
        loop {
            if let Err(error) = self.begin(&mut sending, &mut waiting, &observers).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "failed to look at the mail queue");
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => break,
                () = self.news.notified() => {}
                Some(done) = sending.join_next() => note(&mut waiting, done),
                () = sleep(POLL) => {}
            }
        }
        while sending.join_next().await.is_some() {}
        self.transport.hang_up().await;
    }

    /// Begins to send what is due, as far as there is room.
    async fn begin(
        self: &Arc<Self>,
        sending: &mut JoinSet<Option<Later>>,
        waiting: &mut HashMap<String, Timestamp>,
        observers: &Arc<Observers>,
    ) -> Result<(), store::Error> {
        let ids = self.store.index_members(INDEX).await?;
        observers.metrics.mails_queued(ids.len());
        if ids.is_empty() && sending.is_empty() {
            self.transport.hang_up().await;
        }
        let now = self.clock.now();
        let queued: HashSet<&String> = ids.iter().collect();
        waiting.retain(|id, due| *due > now && queued.contains(id));
        for id in ids.iter().filter(|id| !waiting.contains_key(*id)) {
            // A server in trouble is asked with one mail, and only now and then.
            let room = if self.trouble.is_over() { AT_ONCE } else { usize::from(self.trouble.is_due(now)) };
            if sending.len() >= room {
                break;
            }
            if self.store.put_if_absent(&lease_key(id), b"", now.plus(LEASE)).await? {
                let (outbox, observers, id) = (Arc::clone(self), Arc::clone(observers), id.clone());
                sending.spawn(async move { outbox.attempt(id, &observers).await });
            }
        }
        Ok(())
    }

    /// Tries to send one mail whose lease is ours, and says when it is due again, if it waits.
    async fn attempt(&self, id: String, observers: &Observers) -> Option<Later> {
        match self.handle(&id, observers).await {
            Ok(due) => due.map(|due| (id, due)),
            Err(error) => {
                // The lease ends by itself.
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to read or write the mail queue");
                None
            }
        }
    }

    async fn handle(&self, id: &str, observers: &Observers) -> Result<Option<Timestamp>, store::Error> {
        let Some(mail) = records::load::<Mail>(self.store.as_ref(), &mail_key(id)).await? else {
            // Another instance was done with it after the list was read.
            self.forget(id).await?;
            return Ok(None);
        };
        if mail.expires_at <= self.clock.now() {
            tracing::warn!("gave a mail up: what it carries has expired");
            observers.metrics.mail("expired");
            self.forget(id).await?;
            return Ok(None);
        }
        let sent = tokio::select! {
            sent = self.send(id, &mail) => sent,
            never = self.keep_lease(id) => match never {},
        };
        self.conclude(id, &mail, sent, observers).await
    }

    async fn send(&self, id: &str, mail: &Mail) -> Result<(), Failure> {
        let unwritable = || Failure::Refused("failed to write a mail to such an address".to_owned());
        let message = self.head.message(id, mail).map_err(|_| unwritable())?;
        let [to] = message.envelope().to() else { return Err(unwritable()) };
        self.transport.send(self.head.sender(), to, &message).await
    }

    /// Renews the lease for as long as this is polled. A store that fails meanwhile changes nothing: the mail is on
    /// its way.
    async fn keep_lease(&self, id: &str) -> Infallible {
        loop {
            sleep(RENEWAL).await;
            self.store.replace(&lease_key(id), b"", self.clock.now().plus(LEASE)).await.ok();
        }
    }

    async fn conclude(
        &self,
        id: &str,
        mail: &Mail,
        sent: Result<(), Failure>,
        observers: &Observers,
    ) -> Result<Option<Timestamp>, store::Error> {
        let now = self.clock.now();
        match sent {
            Ok(()) => {
                observers.metrics.mail("sent");
                self.end_trouble(observers);
                self.forget_surely(id, mail).await;
                Ok(None)
            }
            Err(Failure::Refused(reason)) => {
                tracing::warn!(reason, "gave a mail up: the mail server refuses it");
                observers.metrics.mail("refused");
                self.end_trouble(observers);
                self.forget_surely(id, mail).await;
                Ok(None)
            }
            Err(Failure::Later(reason)) => {
                tracing::info!(reason, "a mail is tried again later");
                observers.metrics.mail("retried");
                let due = now.plus(pause(now.since(mail.sent_at)));
                self.store.put(&lease_key(id), b"", due).await?;
                Ok(Some(due))
            }
            Err(Failure::Server(reason)) => {
                observers.metrics.mail("retried");
                self.begin_trouble(reason, now, observers);
                self.store.remove(&lease_key(id)).await?;
                Ok(None)
            }
        }
    }

    fn begin_trouble(&self, reason: String, now: Timestamp, observers: &Observers) {
        if self.trouble.begin(now) {
            tracing::warn!(reason, "the mail server takes no mail; what is queued is tried again");
        } else {
            tracing::debug!(reason, "the mail server still takes no mail");
        }
        (observers.tell)(Some(reason));
    }

    fn end_trouble(&self, observers: &Observers) {
        if self.trouble.end() {
            tracing::info!("the mail server takes mail again");
            (observers.tell)(None);
        }
    }

    /// Takes a mail out of the queue that must not be sent again, however long the store fails meanwhile.
    async fn forget_surely(&self, id: &str, mail: &Mail) {
        while let Err(error) = self.forget(id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to take a mail out of the queue");
            if mail.expires_at <= self.clock.now() {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// The record goes first and the lease last: nobody who finds the one without the other sends anything.
    async fn forget(&self, id: &str) -> Result<(), store::Error> {
        self.store.remove(&mail_key(id)).await?;
        self.store.index_remove(INDEX, id).await?;
        self.store.remove(&lease_key(id)).await
    }
}

/// A mail and when it is due again.
type Later = (String, Timestamp);

fn note(waiting: &mut HashMap<String, Timestamp>, done: Result<Option<Later>, tokio::task::JoinError>) {
    match done {
        Ok(Some((id, due))) => drop(waiting.insert(id, due)),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a task that sends mail failed"),
    }
}
