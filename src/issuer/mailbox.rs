//! The development mailbox: mails land on a page instead of in a mailbox.
//!
//! Whoever can open it can sign in as anybody, so it is mounted only where configuration asks for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::api::Refusal;
use super::mail::Mail;
use super::{Inner, api, records};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::pages::Reader;
use crate::store;

mod sending;

const PATH: &str = "/.linkgate/mailbox";
/// How many mails are kept.
const KEPT: usize = 100;
/// How long a mail is kept.
const LIFETIME: Duration = Duration::from_secs(86_400);
/// The set of the IDs of all mails.
const INDEX: &str = "issuer/mails";

/// How a mail's page can show it, the usual way first.
const VIEWS: [&str; 4] = ["html", "phone", "text", "source"];

/// A mail runs no script, loads nothing and sends nothing; its links open in a new tab.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; \
     sandbox allow-popups allow-popups-to-escape-sandbox";

pub(super) fn router(issuer: Arc<Inner>) -> Router {
    Router::new()
        .route(PATH, get(list))
        .route("/.linkgate/mailbox/latest", get(latest))
        .route("/.linkgate/mailbox/sending", get(sending::show).post(sending::choose))
        .route("/.linkgate/mailbox/{id}", get(open))
        .route("/.linkgate/mailbox/{id}/html", get(open_html))
        .layer(DefaultBodyLimit::max(4096))
        .layer(middleware::map_response(api::no_store))
        .with_state(issuer)
}

/// A mail in the mailbox.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    mail: Mail,
    /// When it is there, where that is later than when it was sent.
    #[serde(default)]
    arrives_at: Option<Timestamp>,
}

impl Kept {
    fn arrived(self, now: Timestamp) -> Option<Mail> {
        self.arrives_at.is_none_or(|arrives_at| arrives_at <= now).then_some(self.mail)
    }
}

fn mail_key(id: &str) -> String {
    format!("issuer/mail/{id}")
}

impl Inner {
    /// Puts the mail on the page, as whoever tries things out wants it.
    pub(super) async fn keep(&self, mail: Mail) -> Result<(), Refusal> {
        let Some(delay) = self.sending().await?.delay() else {
            tracing::warn!("a mail is not sent: the mailbox is set to fail");
            return Err(Refusal::Worded(StatusCode::SERVICE_UNAVAILABLE, "Email could not be sent"));
        };
        let now = self.clock.now();
        let kept = Kept { mail, arrives_at: (!delay.is_zero()).then(|| now.plus(delay)) };
        let expires_at = now.plus(LIFETIME);
        // Mails of one millisecond stay in order, on every instance: the number comes from the store.
        let number = self.store.count("issuer/mails_sent", Duration::from_secs(86_400 * 3650)).await?.events;
        let id = format!("{number:012}");
        records::save(self.store.as_ref(), &mail_key(&id), &kept, expires_at).await?;
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
        let kept: Option<Kept> = records::load(self.store.as_ref(), &mail_key(id)).await?;
        Ok(kept.and_then(|kept| kept.arrived(self.clock.now())))
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
        "code": mail.code,
        "sent_at": mail.sent_at.unix_millis(),
    })
}

async fn list(State(issuer): State<Arc<Inner>>, reader: Option<Extension<Reader>>) -> Result<Html<String>, Refusal> {
    let reader = reader.map(|Extension(reader)| reader).unwrap_or_default();
    let mails = issuer.mails(KEPT, |_| true).await?;
    let mails: Vec<Value> = mails.iter().map(|(id, mail)| shown(id, mail)).collect();
    let values = json!({ "mails": mails, "sending": issuer.sending().await? });
    Ok(Html(issuer.pages.render("mailbox.html", values, &reader)))
}

async fn open(
    State(issuer): State<Arc<Inner>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    reader: Option<Extension<Reader>>,
) -> Result<Response, Refusal> {
    let reader = reader.map(|Extension(reader)| reader).unwrap_or_default();
    let mail = issuer.mail(&id).await?;
    let status = if mail.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mail = mail.map(|mail| shown(&id, &mail));
    let view =
        query_value(query.as_deref(), "view").filter(|view| VIEWS.contains(&view.as_ref())).unwrap_or(VIEWS[0].into());
    let page = issuer.pages.render("mailbox_mail.html", json!({ "mail": mail, "view": view }), &reader);
    Ok((status, Html(page)).into_response())
}

/// The HTML part alone, for the frame on the mail's page.
async fn open_html(State(issuer): State<Arc<Inner>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let Some(mail) = issuer.mail(&id).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let html = mail.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    let headers = [
        (CONTENT_SECURITY_POLICY, MAIL_POLICY),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (CONTENT_LANGUAGE, mail.language.tag()),
    ];
    Ok((headers, Html(html)).into_response())
}

fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The address or phone number as mails are kept under it.
fn recipient(text: &str) -> Option<String> {
    // Neither has a blank: it was a plus sign that nobody encoded.
    let text = text.replace(' ', "+");
    let is_phone = (3..=20).contains(&text.len())
        && text.strip_prefix('+').unwrap_or(&text).bytes().all(|byte| byte.is_ascii_digit());
    if is_phone { Some(text) } else { EmailAddress::parse(&text).ok().map(String::from) }
}

/// The newest mail to one address, or text to one phone, for tests.
async fn latest(State(issuer): State<Arc<Inner>>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let Some(to) = query_value(query.as_deref(), "to").and_then(|to| recipient(&to)) else {
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

#[cfg(test)]
mod tests {
    use std::path;

    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::issuer::{Config, Issuer, Settings};
    use crate::origin::Origin;
    use crate::pages::{Pages, Theme};
    use crate::store::memory::Memory;

    async fn issuer(config: Config) -> Issuer {
        let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
        let pages = Pages::new(&Theme::default(), &public_url, path::Path::new("/")).unwrap();
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
        let settings = Settings {
            name: Issuer::name(&public_url),
            api_url: "http://127.0.0.1:9190".to_owned(),
            public_url,
            app_name: "Acme".to_owned(),
            own_client: None,
            link_lifetime: Duration::from_secs(600),
        };
        let store = Arc::new(Memory::new(clock.clone()));
        Issuer::new(config, settings, store, clock, Arc::new(pages)).await.unwrap()
    }

    async fn open(issuer: &Issuer, path: &str) -> (StatusCode, String) {
        let request = Request::builder().uri(format!("/.linkgate/mailbox{path}")).body(Body::empty()).unwrap();
        let answer = router(issuer.0.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_text_to_a_phone_lands_in_the_mailbox() {
        let issuer = issuer(Config { mailbox: true, ..Config::default() }).await;
        issuer.0.deliver_text("+15551234567", "123456 is your <b>code</b>", "123456").await.unwrap();
        for spelling in ["%2B15551234567", "+15551234567"] {
            let (status, latest) = open(&issuer, &format!("/latest?to={spelling}")).await;
            let expected = json!({ "to": "+15551234567", "subject": "", "text": "123456 is your <b>code</b>", "html": "",
                "link": null, "code": "123456" });
            let latest: Value = serde_json::from_str(&latest).unwrap();
            assert_eq!((status, latest), (StatusCode::OK, expected), "{spelling}");
        }
        let (_, page) = open(&issuer, "").await;
        let line = "Code: <bdi>123456</bdi>";
        assert!(page.contains(">Text message</a>") && page.contains(line) && !page.contains("Open link"), "{page}");
        let (_, page) = open(&issuer, "/000000000001").await;
        assert!(page.contains("<pre>123456 is your &lt;b&gt;code&lt;/b&gt;</pre>"), "{page}");
        assert!(page.contains("<h1>Text message</h1>") && page.contains(line) && !page.contains("<iframe"), "{page}");
    }

    #[tokio::test]
    async fn without_the_mailbox_no_text_is_sent() {
        let refusal = issuer(Config::default()).await.0.deliver_text("+15551234567", "x", "123456").await.unwrap_err();
        let answer = refusal.into_response();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let expected = json!({ "error_code": "external_provider_configuration_error",
            "message": "No provider of text messages is configured" });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}
