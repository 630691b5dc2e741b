//! What becomes of mail in the mailbox: it comes, it comes late, or sending fails, for whoever tries out what visitors
//! see then.
//!
//! The choice is in the store, like all that the issuer knows, so that it holds for every request, for `linkgate invite`
//! beside a gateway, and for the program that takes over from this one.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Inner, LIFETIME, PATH};
use crate::issuer::api::Refusal;
use crate::issuer::records;
use crate::origin::is_same_origin;
use crate::store;

/// How late mail is when it is late.
const DELAY: Duration = Duration::from_secs(10);
/// Where the choice is kept.
const KEY: &str = "issuer/mailbox_sending";

/// What becomes of mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sending {
    /// It comes at once.
    #[default]
    Works,
    /// It comes ten seconds later, as from a mail server that takes its time.
    Slow,
    /// It is not taken, as by a service that is out of order.
    Fails,
}

impl Sending {
    /// How long mail is on its way, unless it is not taken.
    pub(super) const fn delay(self) -> Option<Duration> {
        match self {
            Self::Works => Some(Duration::ZERO),
            Self::Slow => Some(DELAY),
            Self::Fails => None,
        }
    }
}

/// The field of the form, which JSON names in the same way.
#[derive(Serialize, Deserialize)]
pub(super) struct Choice {
    sending: Sending,
}

impl Inner {
    pub(super) async fn sending(&self) -> Result<Sending, store::Error> {
        Ok(records::load(self.store.as_ref(), KEY).await?.unwrap_or_default())
    }

    /// Forgotten as soon as the mails are: nobody shall wonder next week why no mail comes.
    async fn choose_sending(&self, sending: Sending) -> Result<(), store::Error> {
        match sending {
            Sending::Works => self.store.remove(KEY).await,
            _ => records::save(self.store.as_ref(), KEY, &sending, self.clock.now().plus(LIFETIME)).await,
        }
    }

    /// Whether a mail may well be taken now: false where it is known before that it is not.
    pub(in crate::issuer) async fn takes_mail(&self) -> bool {
        // A store that fails has its own way of saying so.
        !self.config.mailbox || !matches!(self.sending().await, Ok(Sending::Fails))
    }
}

/// `GET /.linkgate/mailbox/sending`, for tests.
pub(super) async fn show(State(issuer): State<Arc<Inner>>) -> Result<Json<Choice>, Refusal> {
    Ok(Json(Choice { sending: issuer.sending().await? }))
}

/// `POST /.linkgate/mailbox/sending`: the page's form, or the same in JSON.
pub(super) async fn choose(
    State(issuer): State<Arc<Inner>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    // There is no sign-in here whose token a form could carry.
    if !is_same_origin(&headers, &issuer.settings.public_url) {
        let body = json!({ "error": "stale_form", "message": "The form is out of date. Open the page again." });
        return Ok((StatusCode::FORBIDDEN, Json(body)).into_response());
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is_json = kind.starts_with(b"application/json");
    let choice: Option<Choice> =
        if is_json { serde_json::from_slice(&body).ok() } else { serde_urlencoded::from_bytes(&body).ok() };
    let Some(choice) = choice else {
        let body =
            json!({ "error": "bad_request", "message": "Say what becomes of mail: sending=works, slow or fails" });
        return Ok((StatusCode::BAD_REQUEST, Json(body)).into_response());
    };
    issuer.choose_sending(choice.sending).await?;
    Ok(if is_json { Json(choice).into_response() } else { (StatusCode::SEE_OTHER, [(LOCATION, PATH)]).into_response() })
}
