//! The calls that send a magic link and redeem the code that it leads to.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Code, Link, Spent, code_key, spent_key};
use crate::agent::Agent;
use crate::identity::EmailAddress;
use crate::issuer::api::{Body, CommonRefusals, LinkRefused, Refusal};
use crate::issuer::client::{Caller, Client};
use crate::issuer::login::{ClientAttributes, Shown, Wishes, check_device_id};
use crate::issuer::mail::{EmailContent, Facts};
use crate::issuer::one_time_code::Order;
use crate::issuer::tokens::TokenAnswer;
use crate::issuer::users::{Proof, User};
use crate::issuer::{Inner, records};
use crate::pages::Language;
use crate::secret::{fingerprint, random_token, same};

/// The longest `email_expiration`, in minutes: a day.
const LONGEST_EXPIRATION: f64 = 1440.0;
/// The longest `state`, in bytes: it must fit into a `Location`.
const LONGEST_STATE: usize = 4096;

const NO_USER: Refusal = Refusal::Worded(StatusCode::NOT_FOUND, "User not found");
const NO_EMAIL: Refusal = Refusal::Worded(StatusCode::NOT_FOUND, "The user has no email address");
const INVALID_CODE: Refusal = Refusal::Worded(StatusCode::BAD_REQUEST, "Invalid magic link code");
const WRONG_REDIRECT_URI: Refusal = Refusal::Worded(
    StatusCode::BAD_REQUEST,
    "redirect_uri is not one of the allowed redirect URIs configured for this app",
);

/// How a link gets to the user.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Channel {
    #[default]
    Email,
    /// Into the answer: the caller brings it to the user.
    Direct,
}

#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct SendLink {
    /// Who: this and `identifier_type`, or `email` alone.
    identifier: Option<String>,
    /// `email`, `phone_number`, `user_id`, `username` or `external_user_id`; nobody has an identifier of another type.
    identifier_type: Option<String>,
    /// The older form of the two above, which win.
    #[schema(deprecated)]
    email: Option<String>,
    /// One of the client's, exactly.
    redirect_uri: Option<String>,
    /// Comes back as it is, beside the code.
    #[schema(max_length = 4096)]
    state: Option<String>,
    /// Minutes, up to a day.
    #[schema(exclusive_minimum = 0, maximum = 1440)]
    email_expiration: Option<f64>,
    email_content: Option<EmailContent>,
    client_attributes: Option<ClientAttributes>,
    channel: Option<Channel>,
    #[schema(max_length = 80)]
    device_id: Option<String>,
    /// Whether the answer names a request ID that must come back with the code.
    generate_request_id: Option<bool>,
}

impl SendLink {
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
    async fn user(&self, issuer: &Inner, client: &Client) -> Result<User, Refusal> {
        let user = match (&self.identifier_type, &self.identifier, &self.email) {
            (Some(kind), Some(identifier), _) => issuer.identified(client, kind, identifier).await?,
            (_, _, Some(email)) => {
                EmailAddress::parse(email).map_err(|_| Refusal::field("email must be an email"))?;
                issuer.identified(client, "email", email).await?
            }
            _ => None,
        };
        user.ok_or(NO_USER)
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct LinkSent {
    message: &'static str,
    /// With `generate_request_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// With `channel` `direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// Mails a magic link to the user's primary address; the mail has a one-time code in it too.
#[utoipa::path(
    post, path = "/cis/v1/auth/link/email/send", tag = "links", operation_id = "sendMagicLinkEmail",
    request_body = SendLink,
    responses(
        (status = 200, description = "The link is on its way", body = LinkSent),
        (status = 400, description = "The redirect URI is none of the client's, or a field is not what it should be",
            body = LinkRefused),
        (status = 403, description = "The user is not active", body = LinkRefused),
        (status = 404, description = "The application has no such user, or the user has no address",
            body = LinkRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn send(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(call): Body<SendLink>,
) -> Result<Json<LinkSent>, Refusal> {
    let client = &caller.client;
    let problems = call.problems();
    if !problems.is_empty() {
        return Err(Refusal::Fields(problems));
    }
    check_device_id(call.device_id.as_deref())?;
    let redirect_uri = call.redirect_uri.clone().unwrap_or_default();
    if !client.redirect_uris.contains(&redirect_uri) {
        return Err(WRONG_REDIRECT_URI);
    }
    let user = call.user(&issuer, client).await?;
    if !user.is_active() {
        return Err(Refusal::NOT_ACTIVE);
    }
    let is_direct = call.channel.unwrap_or_default() == Channel::Direct;
    let address = user.email.as_ref().map(|email| email.value.clone());
    let receiver = if is_direct { None } else { Some(address.ok_or(NO_EMAIL)?) };
    let request_id = call.generate_request_id.unwrap_or_default().then(|| random_token().expose().clone());
    let now = issuer.clock.now();
    let attributes = call.client_attributes.clone().unwrap_or_default();
    let lifetime =
        call.email_expiration.map_or(issuer.settings.link_lifetime, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let link = Link {
        user_id: user.user_id.clone(),
        client_id: client.id.clone(),
        redirect_uri,
        state: call.state.clone(),
        request_id: request_id.clone(),
        proof: receiver.clone().map_or(Proof::Nothing, Proof::Email),
        asked_at: now,
        expires_at: now.plus(lifetime),
        agent: Agent::well_known(attributes.user_agent.as_deref()),
    };
    let token = issuer.make_link(&link).await?;
    let url = issuer.settings.public_url.join(&format!("/.linkgate/link?token={}", token.expose()));
    let Some(address) = receiver else {
        return Ok(Json(LinkSent { message: "Link created", request_id, link: Some(url) }));
    };
    let mailed = Mailed { name: fingerprint(token.expose()), url, language: issuer.pages.language(&headers) };
    issuer.mail_link(client, &call, &link, &address, mailed).await?;
    Ok(Json(LinkSent { message: "Email sent successfully", request_id, link: None }))
}

/// What a mail has of its link.
struct Mailed {
    name: String,
    url: String,
    /// That of the page, which the caller names in `Accept-Language`.
    language: Language,
}

impl Inner {
    async fn mail_link(
        &self,
        client: &Client,
        call: &SendLink,
        link: &Link,
        address: &EmailAddress,
        Mailed { name, url, language }: Mailed,
    ) -> Result<(), Refusal> {
        let order = Order {
            client_id: &client.id,
            user_id: &link.user_id,
            request_id: link.request_id.as_deref(),
            link: Some(name),
            method: "eotp",
            proof: link.proof.clone(),
            approval_data: None,
            // Few digits are not to live as long as some links.
            expires_at: link.expires_at.min(link.asked_at.plus(self.config.codes.lifetime.0)),
            all_over_at: link.expires_at,
        };
        let passcode = self.make_passcode(order).await?;
        let ip_address = call.client_attributes.as_ref().and_then(|attributes| attributes.ip_address.as_deref());
        let facts = Facts {
            language,
            app: &client.app_name,
            is_bound: client.is_own,
            link: Some(url),
            code: Some(passcode.expose().clone()),
            asked_at: link.asked_at,
            expires_at: link.expires_at,
            agent: link.agent.clone(),
            address: ip_address.and_then(|text| text.parse().ok()),
            content: call.email_content.clone(),
        };
        self.deliver(self.composer.compose(address, facts)?).await
    }
}

#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct LinkLogin {
    /// From the redirect.
    code: String,
    /// The session that this login is added to, in place of a new one.
    session_id: Option<String>,
    /// What the call that sent the link answered.
    request_id: Option<String>,
    #[serde(flatten)]
    wishes: Wishes,
}

/// Redeems the code that a magic link led to.
#[utoipa::path(
    post, path = "/cis/v1/auth/link/email/authenticate", tag = "links", operation_id = "authenticateMagicLink",
    request_body = LinkLogin,
    responses(
        (status = 200, description = "The user is signed in", body = TokenAnswer),
        (status = 400, description = "The code is not valid, user or session are gone, or a field is not what it should \
            be", body = LinkRefused),
        (status = 403, description = "The user is not active", body = LinkRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn authenticate(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(login): Body<LinkLogin>,
) -> Result<Json<TokenAnswer>, Refusal> {
    let granted = login.wishes.grant(&caller.client)?;
    let found = records::load::<Code>(issuer.store.as_ref(), &code_key(&login.code)).await?;
    let Some(code) = found else {
        issuer.end_what_it_opened(&login.code, &caller.client).await?;
        return Err(INVALID_CODE);
    };
    if code.client_id != caller.client.id || !answers(code.request_id.as_deref(), login.request_id.as_deref()) {
        return Err(INVALID_CODE);
    }
    let user = issuer.user_to_sign_in(&caller, &code.user_id).await?;
    let earlier = issuer.earlier_session(login.session_id.as_deref(), &user).await?;
    if !issuer.spend_code(&login.code, &code.link).await? {
        return Err(INVALID_CODE);
    }
    let shown = Shown { method: "eml", proof: &code.proof, approval_data: None };
    let (user, session) = issuer.sign_in(&caller, earlier, &user.user_id, shown).await?;
    let spent = Spent { client_id: code.client_id, session: session.name() };
    records::save(issuer.store.as_ref(), &spent_key(&login.code), &spent, code.expires_at).await?;
    Ok(Json(issuer.grant_tokens(&caller, &user, &session, granted).await?))
}

/// Whether the caller gave back the request ID that `send` made, if it made one.
fn answers(made: Option<&str>, given: Option<&str>) -> bool {
    made.is_none_or(|made| same(made.as_bytes(), given.unwrap_or_default().as_bytes()))
}
