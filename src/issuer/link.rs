//! Magic links: `send` makes one and mails it, the link page turns it into a code, `authenticate` redeems the code.
//!
//! A link may be pressed more than once, so that a scanner that presses buttons burns nothing; it is used up when
//! the first of its codes is redeemed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Body, Refusal};
use super::client::{Caller, Client};
use super::mail::{EmailContent, Facts};
use super::sessions::Session;
use super::tokens::{ClaimsRequest, TokenAnswer};
use super::users::User;
use super::{Inner, records};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::secret::{Seal, Secret, fingerprint, random_token, same};
use crate::store;

/// A code lives this long at most (RFC 6749 section 4.1.2) …
const CODE_LIFETIME: Duration = Duration::from_secs(600);
/// … and outlives its link by no more than this: who presses in the last second still arrives.
const CODE_GRACE: Duration = Duration::from_secs(60);
/// The longest `email_expiration`, in minutes: a day.
const LONGEST_EXPIRATION: f64 = 1440.0;
/// The longest `state`, in bytes: it must fit into a `Location`.
const LONGEST_STATE: usize = 4096;
/// Codes that one link may make in a minute.
const CODES_PER_MINUTE: u64 = 20;

const NO_USER: Refusal = Refusal::Worded(StatusCode::NOT_FOUND, "User not found");
const INVALID_CODE: Refusal = Refusal::Worded(StatusCode::BAD_REQUEST, "Invalid magic link code");
const WRONG_REDIRECT_URI: Refusal = Refusal::Worded(
    StatusCode::BAD_REQUEST,
    "redirect_uri is not one of the allowed redirect URIs configured for this app",
);

/// A link that was mailed. Sealed under its own token, so the store alone shows neither `state` nor target.
#[derive(Serialize, Deserialize)]
pub(super) struct Link {
    user_id: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    request_id: Option<String>,
    pub(super) asked_at: Timestamp,
    expires_at: Timestamp,
    pub(super) agent: Agent,
}

/// What has become of a link.
pub(super) enum Found {
    /// It works.
    Live(Link),
    /// One of its codes was redeemed.
    Used,
    /// It never was, or its time is over.
    Gone,
}

/// What a code opens.
#[derive(Serialize, Deserialize)]
struct Code {
    /// The link's name in the store.
    link: String,
    user_id: String,
    client_id: String,
    request_id: Option<String>,
    expires_at: Timestamp,
    link_expires_at: Timestamp,
}

fn link_key(name: &str) -> String {
    format!("issuer/link/{name}")
}

/// Set when the first code of a link is redeemed.
fn used_key(name: &str) -> String {
    format!("issuer/link_used/{name}")
}

fn code_key(code: &str) -> String {
    format!("issuer/code/{}", fingerprint(code))
}

/// Leads from a redeemed code to the session that it opened.
fn spent_key(code: &str) -> String {
    format!("issuer/spent/{}", fingerprint(code))
}

fn seal(token: &str) -> Seal {
    Seal::new(token.as_bytes(), "issuer link")
}

impl Inner {
    /// Keeps the link and gives the token that leads to it.
    async fn make_link(&self, link: &Link) -> Result<Secret<String>, store::Error> {
        let token = random_token();
        let key = link_key(&fingerprint(token.expose()));
        let sealed = seal(token.expose()).close(&key, &records::write(link));
        self.store.put(&key, &sealed, link.expires_at).await?;
        Ok(token)
    }

    /// What a token from a mail leads to. Changes nothing.
    pub(super) async fn find_link(&self, token: &str) -> Result<Found, store::Error> {
        let name = fingerprint(token);
        let key = link_key(&name);
        let Some(sealed) = self.store.get(&key).await? else { return Ok(Found::Gone) };
        if self.store.get(&used_key(&name)).await?.is_some() {
            return Ok(Found::Used);
        }
        let opened = seal(token).open(&key, &sealed).map_err(|_| store::Error::Corrupt(key.clone()))?;
        serde_json::from_slice(&opened).map(Found::Live).map_err(|_| store::Error::Corrupt(key))
    }

    /// A fresh code for a link; `None` when it has made too many just now.
    pub(super) async fn make_code(&self, token: &str, link: &Link) -> Result<Option<Secret<String>>, store::Error> {
        let name = fingerprint(token);
        let pressed = self.store.count(&format!("issuer/link_codes/{name}"), Duration::from_secs(60)).await?;
        if pressed.events > CODES_PER_MINUTE {
            return Ok(None);
        }
        let code = random_token();
        let expires_at = self.clock.now().plus(CODE_LIFETIME).min(link.expires_at.plus(CODE_GRACE));
        let record = Code {
            link: name,
            user_id: link.user_id.clone(),
            client_id: link.client_id.clone(),
            request_id: link.request_id.clone(),
            expires_at,
            link_expires_at: link.expires_at,
        };
        records::save(self.store.as_ref(), &code_key(code.expose()), &record, expires_at).await?;
        Ok(Some(code))
    }

    /// Ends what a code opened that is now shown for a second time (RFC 6749 section 4.1.2).
    async fn end_what_it_opened(&self, code: &str) -> Result<(), store::Error> {
        if let Some(session) = records::load::<String>(self.store.as_ref(), &spent_key(code)).await? {
            tracing::warn!("a code was used twice: its session is ended");
            self.end_session(&session).await?;
        }
        Ok(())
    }

    /// Takes the code, and the link with it: of all codes and all callers one gets through.
    async fn spend_code(&self, code: &str, link: &str) -> Result<bool, store::Error> {
        let Some(taken) = records::take::<Code>(self.store.as_ref(), &code_key(code)).await? else { return Ok(false) };
        // The mark stays until the link and all its codes are gone of themselves.
        let until = taken.link_expires_at.plus(CODE_GRACE);
        records::claim(self.store.as_ref(), &used_key(link), &self.clock.now(), until).await
    }
}

#[derive(Deserialize)]
pub(super) struct SendCall {
    identifier: Option<String>,
    identifier_type: Option<String>,
    email: Option<String>,
    redirect_uri: Option<String>,
    state: Option<String>,
    email_expiration: Option<f64>,
    email_content: Option<EmailContent>,
    client_attributes: Option<ClientAttributes>,
    channel: Option<String>,
    #[serde(default)]
    generate_request_id: bool,
}

#[derive(Default, Deserialize)]
struct ClientAttributes {
    user_agent: Option<String>,
    ip_address: Option<String>,
}

impl SendCall {
    /// What is wrong with the fields, each for itself.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |fine: bool, message: &str| {
            if !fine {
                problems.push(message.to_owned());
            }
        };
        let identified = self.identifier.is_some() && self.identifier_type.is_some();
        require(self.redirect_uri.is_some(), "redirect_uri should not be empty");
        require(identified || self.email.is_some(), "identifier and identifier_type should not be empty");
        require(self.channel.as_deref().is_none_or(|channel| channel == "email"), "channel must be email");
        require(
            self.state.as_ref().is_none_or(|state| state.len() <= LONGEST_STATE),
            "state must be shorter than or equal to 4096 characters",
        );
        require(
            self.email_expiration.is_none_or(|minutes| minutes > 0.0 && minutes <= LONGEST_EXPIRATION),
            "email_expiration must be a number of minutes between 0 and 1440",
        );
        if let Some(content) = &self.email_content {
            problems.extend(content.problems());
        }
        problems
    }

    /// The user that the call names; the newer pair of fields wins over the older one.
    async fn user(&self, issuer: &Inner) -> Result<Option<User>, Refusal> {
        let by_email = async |text: &str| {
            let address = EmailAddress::parse(text).map_err(|_| Refusal::field("email must be an email"))?;
            Ok::<_, Refusal>(issuer.user_by_email(&address).await?)
        };
        match (&self.identifier_type, &self.identifier, &self.email) {
            (Some(kind), Some(identifier), _) if kind == "email" => by_email(identifier).await,
            (Some(kind), Some(identifier), _) if kind == "user_id" => Ok(issuer.user(identifier).await?),
            (Some(_), Some(_), _) => Ok(None),
            (_, _, Some(email)) => by_email(email).await,
            _ => Ok(None),
        }
    }
}

/// `POST /cis/v1/auth/link/email/send`
pub(super) async fn send(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(call): Body<SendCall>,
) -> Result<Json<Value>, Refusal> {
    let problems = call.problems();
    if !problems.is_empty() {
        return Err(Refusal::Fields(problems));
    }
    let redirect_uri = call.redirect_uri.clone().unwrap_or_default();
    if !caller.client.redirect_uris.contains(&redirect_uri) {
        return Err(WRONG_REDIRECT_URI);
    }
    let user = call.user(&issuer).await?.ok_or(NO_USER)?;
    Inner::require_active(&user)?;
    let request_id = call.generate_request_id.then(|| random_token().expose().clone());
    issuer.mail_link(&caller.client, call, redirect_uri, &user, request_id.clone()).await?;
    let mut answer = json!({ "message": "Email sent successfully" });
    if let Some(request_id) = request_id {
        answer["request_id"] = json!(request_id);
    }
    Ok(Json(answer))
}

impl Inner {
    async fn mail_link(
        &self,
        client: &Client,
        call: SendCall,
        redirect_uri: String,
        user: &User,
        request_id: Option<String>,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        let attributes = call.client_attributes.unwrap_or_default();
        let agent = Agent::well_known(attributes.user_agent.as_deref());
        let lifetime = call
            .email_expiration
            .map_or(self.settings.link_lifetime, |minutes| Duration::from_secs_f64(minutes * 60.0));
        let link = Link {
            user_id: user.user_id.clone(),
            client_id: client.id.clone(),
            redirect_uri,
            state: call.state,
            request_id,
            asked_at: now,
            expires_at: now.plus(lifetime),
            agent: agent.clone(),
        };
        let token = self.make_link(&link).await?;
        let facts = Facts {
            app: &client.app_name,
            link: self.settings.public_url.join(&format!("/.linkgate/link?token={}", token.expose())),
            asked_at: now,
            expires_at: link.expires_at,
            agent,
            address: attributes.ip_address.and_then(|text| text.parse().ok()),
            content: call.email_content,
        };
        self.deliver(self.composer.compose(&user.email.value, facts)?).await
    }
}

#[derive(Deserialize)]
pub(super) struct CodeLogin {
    code: String,
    session_id: Option<String>,
    request_id: Option<String>,
    claims: Option<Claims>,
    resource: Option<String>,
}

/// The `claims` parameter; what is asked for the access token and for UserInfo adds nothing.
#[derive(Default, Deserialize)]
pub(super) struct Claims {
    id_token: Option<ClaimsRequest>,
}

impl Claims {
    /// The claims asked for in the ID token.
    pub(super) fn asked(self) -> ClaimsRequest {
        self.id_token.unwrap_or_default()
    }
}

/// `POST /cis/v1/auth/link/email/authenticate`
pub(super) async fn authenticate(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(login): Body<CodeLogin>,
) -> Result<Json<TokenAnswer>, Refusal> {
    let audience = caller.client.audience(login.resource.as_deref())?;
    let found = records::load::<Code>(issuer.store.as_ref(), &code_key(&login.code)).await?;
    let Some(code) = found else {
        issuer.end_what_it_opened(&login.code).await?;
        return Err(INVALID_CODE);
    };
    if code.client_id != caller.client.id || !answers(code.request_id.as_deref(), login.request_id.as_deref()) {
        return Err(INVALID_CODE);
    }
    let mut user =
        issuer.user(&code.user_id).await?.ok_or(Refusal::Worded(StatusCode::BAD_REQUEST, "User not found"))?;
    Inner::require_active(&user)?;
    let earlier = earlier_session(&issuer, login.session_id.as_deref(), &user).await?;
    if !issuer.spend_code(&login.code, &code.link).await? {
        return Err(INVALID_CODE);
    }
    issuer.note_sign_in(&mut user).await?;
    let session = sign_in(&issuer, earlier, &user).await?;
    records::save(issuer.store.as_ref(), &spent_key(&login.code), &session.name(), code.expires_at).await?;
    let claims = login.claims.unwrap_or_default().asked();
    Ok(Json(issuer.issue(&caller.client, &user, &session, claims, audience).await?))
}

/// Whether the caller gave back the request ID that `send` made, if it made one.
fn answers(made: Option<&str>, given: Option<&str>) -> bool {
    made.is_none_or(|made| same(made.as_bytes(), given.unwrap_or_default().as_bytes()))
}

/// The session that this login is to be added to.
async fn earlier_session(issuer: &Inner, id: Option<&str>, user: &User) -> Result<Option<Session>, Refusal> {
    let Some(id) = id else { return Ok(None) };
    let session = issuer.session(id).await?.filter(|session| session.user_id == user.user_id);
    session.map(Some).ok_or(Refusal::Worded(StatusCode::BAD_REQUEST, "Session not found"))
}

async fn sign_in(issuer: &Inner, earlier: Option<Session>, user: &User) -> Result<Session, Refusal> {
    let Some(mut session) = earlier else { return Ok(issuer.open_session(user, "eml").await?) };
    session.add_proof("eml", issuer.clock.now());
    if issuer.extend_session(&mut session).await? { Ok(session) } else { Err(Refusal::NO_SESSION) }
}
