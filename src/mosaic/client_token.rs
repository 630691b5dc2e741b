//! The access token of our own client: had once for all, renewed ahead of its end, and used until shortly before it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use url::Url;

use super::call::{ANSWER_LIMIT, Http, Repeat};
use super::client_authentication::ClientAuthentication;
use super::error::{Error, Refusal};
use super::single_flight::SingleFlight;
use super::{Connection, wire};
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;

/// How long before its end a token is renewed in the background, while it still serves.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// How long before its end a token is no longer used: longer than a call can be on its way.
const MARGIN: Duration = Duration::from_secs(30);
/// The pause after a renewal that failed.
const RETRY: Duration = Duration::from_secs(10);

/// The call's name in metrics and logs.
const CALL: &str = "token";

/// A client access token, shared by all calls.
pub(super) type ClientToken = Arc<Secret<String>>;

/// Gets client access tokens (RFC 6749 section 4.4) and keeps the latest.
pub(super) struct ClientTokens {
    http: Http,
    clock: Clock,
    url: Url,
    client_id: String,
    authentication: ClientAuthentication,
    kept: Mutex<Option<Kept>>,
    flight: SingleFlight<Result<ClientToken, Error>>,
}

#[derive(Clone)]
struct Kept {
    token: ClientToken,
    renew_at: Timestamp,
    usable_until: Timestamp,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(deserialize_with = "wire::secret")]
    access_token: Secret<String>,
    token_type: String,
    #[serde(deserialize_with = "wire::seconds")]
    expires_in: Duration,
}

impl ClientTokens {
    pub(super) fn new(connection: &Connection, http: Http, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            http,
            clock,
            url: connection.token_url.clone(),
            client_id: connection.client_id.clone(),
            authentication: connection.client_authentication.clone(),
            kept: Mutex::new(None),
            flight: SingleFlight::new(),
        })
    }

    /// A token that is good for half a minute more, as far as we know. Nobody waits while the kept one is.
    ///
    /// # Errors
    /// Those of the one fetch that all who wait share.
    pub(super) async fn get(self: &Arc<Self>) -> Result<ClientToken, Error> {
        let now = self.clock.now();
        let Some(kept) = self.usable(now) else { return self.flight.join(|| self.renewal()).await };
        if now >= kept.renew_at
            && let Some(renewal) = self.flight.begin(|| self.renewal())
        {
            tokio::spawn(renewal);
        }
        Ok(kept.token)
    }

    /// Whether there is a token, or one can be had. Asks though the token endpoint is left alone: whoever wants to know
    /// comes at a pace of their own.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.usable(self.clock.now()).is_none() {
            self.http.hasten();
        }
        self.get().await.map(drop)
    }

    /// Whether there is a token, or nothing is known against having one.
    pub(super) fn is_promising(&self) -> bool {
        self.usable(self.clock.now()).is_some() || self.http.is_promising(CALL)
    }

    /// Fetches a token even though the kept one is good.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn renew_now(self: &Arc<Self>) -> Result<(), Error> {
        self.http.hasten();
        let tokens = Arc::clone(self);
        self.flight.join(move || async move { tokens.fetch().await }.boxed()).await.map(drop)
    }

    /// Drops `token`, which Mosaic no longer accepts, unless another has taken its place already.
    pub(super) fn forget(&self, token: &ClientToken) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.token, token)) {
            *kept = None;
        }
    }

    fn usable(&self, now: Timestamp) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| now < kept.usable_until).cloned()
    }

    fn renewal(self: &Arc<Self>) -> BoxFuture<'static, Result<ClientToken, Error>> {
        let tokens = Arc::clone(self);
        async move { tokens.renew().await }.boxed()
    }

    async fn renew(&self) -> Result<ClientToken, Error> {
        let now = self.clock.now();
        // Another renewal may have ended since the look at the kept token.
        if let Some(kept) = self.usable(now).filter(|kept| now < kept.renew_at) {
            return Ok(kept.token);
        }
        let fetched = self.fetch().await;
        if fetched.is_err()
            && let Some(kept) = &mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner)
        {
            kept.renew_at = self.clock.now().plus(RETRY);
        }
        fetched
    }

    async fn fetch(&self) -> Result<ClientToken, Error> {
        let asked_at = self.clock.now();
        // A statement is good for one try, so each has its own.
        let request = || {
            let request = self.http.post(&self.url);
            self.authentication.token_request(request, &self.client_id, &self.url, self.clock.now())
        };
        let answer = self.http.send(CALL, Repeat::Once, ANSWER_LIMIT, request).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_token_endpoint_error)?;
        let TokenAnswer { access_token, token_type, expires_in } = answer.json()?;
        if !token_type.eq_ignore_ascii_case("Bearer") {
            return Err(answer.unexpected("the token is not a bearer token"));
        }
        let token = ClientToken::new(access_token);
        // Of a token that lives shortly, half of its life is ahead of its end, and a quarter the margin.
        let kept = Kept {
            token: token.clone(),
            renew_at: asked_at.plus(expires_in.saturating_sub(AHEAD.min(expires_in / 2))),
            usable_until: asked_at.plus(expires_in.saturating_sub(MARGIN.min(expires_in / 4))),
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(token)
    }
}
