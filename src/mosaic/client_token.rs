//! The access token of our own client: had once for all, kept until shortly before it expires.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Deserialize;
use url::Url;

use super::call::{ANSWER_LIMIT, Http, Repeat};
use super::error::{Error, Refusal};
use super::single_flight::SingleFlight;
use super::{Connection, wire};
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(60);

/// A client access token, shared by all calls.
pub(super) type ClientToken = Arc<Secret<String>>;

/// Gets client access tokens (RFC 6749 section 4.4) and keeps the latest.
pub(super) struct ClientTokens {
    http: Http,
    clock: Clock,
    url: Url,
    client_id: String,
    client_secret: Secret<String>,
    kept: Mutex<Option<Kept>>,
    flight: SingleFlight<Result<ClientToken, Error>>,
}

struct Kept {
    token: ClientToken,
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
            client_secret: connection.client_secret.clone(),
            kept: Mutex::new(None),
            flight: SingleFlight::new(),
        })
    }

    /// A token that is good for at least a minute more, as far as we know.
    ///
    /// # Errors
    /// Those of the one fetch that all who wait share.
    pub(super) async fn get(self: &Arc<Self>) -> Result<ClientToken, Error> {
        if let Some(token) = self.usable() {
            return Ok(token);
        }
        let tokens = Arc::clone(self);
        self.flight.join(move || async move { tokens.renew().await }.boxed()).await
    }

    /// Drops `token`, which Mosaic no longer accepts, unless another has taken its place already.
    pub(super) fn forget(&self, token: &ClientToken) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.token, token)) {
            *kept = None;
        }
    }

    fn usable(&self) -> Option<ClientToken> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| self.clock.now() < kept.usable_until);
        kept.map(|kept| ClientToken::clone(&kept.token))
    }

    async fn renew(&self) -> Result<ClientToken, Error> {
        if let Some(token) = self.usable() {
            return Ok(token);
        }
        let asked_at = self.clock.now();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
        ];
        let request = || self.http.post(&self.url).form(&form);
        let answer = self.http.send("token", Repeat::Never, ANSWER_LIMIT, request).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_token_endpoint_error)?;
        let TokenAnswer { access_token, token_type, expires_in } = answer.json()?;
        if !token_type.eq_ignore_ascii_case("Bearer") {
            return Err(answer.unexpected("the token is not a bearer token"));
        }
        let token = ClientToken::new(access_token);
        // A token that lives for less than two minutes is used for half of its life.
        let usable_until = asked_at.plus(expires_in.saturating_sub(MARGIN.min(expires_in / 2)));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { token: token.clone(), usable_until });
        Ok(token)
    }
}
