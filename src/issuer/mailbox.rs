//! The development mailbox: mails land on a page instead of in a mailbox.
//!
//! Whoever can open it can sign in as anybody, so it is mounted only where configuration asks for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::api::Refusal;
use super::phone::PhoneNumber;
use super::{Inner, api, records};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::store;

/// How many mails are kept.
const KEPT: usize = 100;
/// How long a mail is kept.
const LIFETIME: Duration = Duration::from_secs(86_400);
/// The set of the IDs of all mails.
const INDEX: &str = "issuer/mails";

/// A mail runs no script, loads nothing and sends nothing; its links open in a new tab.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; \
     sandbox allow-popups allow-popups-to-escape-sandbox";

/// A mail as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mail {
    /// A mail address, or the number that a text went to.
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
    pub(super) link: Option<String>,
    pub(super) code: Option<String>,
    pub(super) sent_at: Timestamp,
}

pub(super) fn router(issuer: Arc<Inner>) -> Router {
    Router::new()
        .route("/.linkgate/mailbox", get(list))
        .route("/.linkgate/mailbox/latest", get(latest))
        .route("/.linkgate/mailbox/{id}", get(open))
        .route("/.linkgate/mailbox/{id}/html", get(open_html))
        .layer(middleware::map_response(api::no_store))
        .with_state(issuer)
}

fn mail_key(id: &str) -> String {
    format!("issuer/mail/{id}")
}

impl Inner {
    /// Sends the mail: to the mailbox page, which is the only way that there is.
    pub(super) async fn deliver(&self, mail: Mail) -> Result<(), Refusal> {
        if !self.config.mailbox {
            tracing::error!("a mail is not sent: `issuer.mailbox` is off and no mail server is configured");
            return Err(Refusal::Worded(StatusCode::SERVICE_UNAVAILABLE, "Email could not be sent"));
        }
        Ok(self.keep(&mail).await?)
    }

    /// Sends a text message.
    pub(super) async fn deliver_text(&self, phone: &str, text: &str, code: &str) -> Result<(), Refusal> {
        let mail = Mail {
            to: phone.to_owned(),
            subject: String::new(),
            html: String::new(),
            text: text.to_owned(),
            link: None,
            code: Some(code.to_owned()),
            sent_at: self.clock.now(),
        };
        Ok(self.keep(&mail).await?)
    }

    async fn keep(&self, mail: &Mail) -> Result<(), store::Error> {
        let expires_at = self.clock.now().plus(LIFETIME);
        // Mails of one millisecond stay in order, on every instance: the number comes from the store.
        let number = self.store.count("issuer/mails_sent", Duration::from_secs(86_400 * 3650)).await?.events;
        let id = format!("{number:012}");
        records::save(self.store.as_ref(), &mail_key(&id), mail, expires_at).await?;
        self.store.index_add(INDEX, &id, expires_at).await?;
        for old in self.mail_ids().await?.iter().skip(KEPT) {
            self.store.remove(&mail_key(old)).await?;
            self.store.index_remove(INDEX, old).await?;
        }
        Ok(())
    }

    /// Newest first.
    async fn mail_ids(&self) -> Result<Vec<String>, store::Error> {
        let mut ids = self.store.index_members(INDEX).await?;
        ids.sort_unstable_by(|left, right| right.cmp(left));
        Ok(ids)
    }

    async fn mail(&self, id: &str) -> Result<Option<Mail>, store::Error> {
        records::load(self.store.as_ref(), &mail_key(id)).await
    }

    /// The newest mails, at most `wanted`, of those that `matches` names.
    async fn mails(&self, wanted: usize, matches: impl Fn(&Mail) -> bool) -> Result<Vec<(String, Mail)>, store::Error> {
        let mut mails = Vec::new();
        for id in self.mail_ids().await? {
            if mails.len() == wanted {
                break;
            }
            if let Some(mail) = self.mail(&id).await?.filter(&matches) {
                mails.push((id, mail));
            }
        }
        Ok(mails)
    }
}

fn shown(id: &str, mail: &Mail) -> Value {
    json!({
        "id": id,
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "link": mail.link,
        "sent_at": mail.sent_at.unix_millis(),
    })
}

async fn list(State(issuer): State<Arc<Inner>>) -> Result<Html<String>, Refusal> {
    let mails = issuer.mails(KEPT, |_| true).await?;
    let mails: Vec<Value> = mails.iter().map(|(id, mail)| shown(id, mail)).collect();
    Ok(Html(issuer.pages.render("mailbox.html", json!({ "mails": mails }))))
}

async fn open(State(issuer): State<Arc<Inner>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mail = issuer.mail(&id).await?;
    let status = if mail.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mail = mail.map(|mail| shown(&id, &mail));
    Ok((status, Html(issuer.pages.render("mailbox_mail.html", json!({ "mail": mail })))).into_response())
}

/// The HTML part alone, for the frame on the mail's page.
async fn open_html(State(issuer): State<Arc<Inner>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let Some(mail) = issuer.mail(&id).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let html = mail.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    let headers = [(CONTENT_SECURITY_POLICY, MAIL_POLICY), (X_FRAME_OPTIONS, "SAMEORIGIN")];
    Ok((headers, Html(html)).into_response())
}

/// The newest mail to one address, for tests.
async fn latest(State(issuer): State<Arc<Inner>>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let to = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "to").map(|(_, value)| value);
    // No address has a blank: it was a plus sign that nobody encoded.
    let to = to.map(|to| to.replace(' ', "+"));
    let read = |to: &String| match PhoneNumber::parse(to) {
        Some(number) => Some(number.to_string()),
        None => EmailAddress::parse(to).ok().map(String::from),
    };
    let Some(to) = to.as_ref().and_then(read) else {
        let body = json!({ "error": "bad_request", "message": "Name an address: ?to=name@example.com" });
        return Ok((StatusCode::BAD_REQUEST, Json(body)).into_response());
    };
    let newest = issuer.mails(1, |mail| mail.to == to).await?;
    let Some((_, mail)) = newest.first() else {
        let body = json!({ "error": "not_found", "message": "There is no mail to this address" });
        return Ok((StatusCode::NOT_FOUND, Json(body)).into_response());
    };
    Ok(Json(json!({
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "link": mail.link,
        "code": mail.code,
    }))
    .into_response())
}
