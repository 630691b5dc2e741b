//! The calls that send a one-time code and redeem it. They refuse with symbols, as Mosaic's do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Guess, Order};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::issuer::Inner;
use crate::issuer::api::{CommonRefusals, Refusal, SymbolBody, SymbolRefused};
use crate::issuer::client::{Caller, Client};
use crate::issuer::login::{ClientAttributes, Shown, Wishes, check_device_id};
use crate::issuer::mail::{EmailContent, Facts};
use crate::issuer::phone::PhoneNumber;
use crate::issuer::tokens::TokenAnswer;
use crate::issuer::users::{Proof, User};
use crate::pages::Language;
use crate::secret::random_token;

/// The longest `expires_in`, in minutes: a day.
const LONGEST_EXPIRATION: f64 = 1440.0;
/// Mosaic's limits of `custom_sms_input`, in characters.
const LONGEST_MESSAGE: usize = 140;
const LONGEST_SENDER: usize = 11;
/// The most members of `approval_data` (Mosaic's limit).
const MOST_APPROVED: usize = 10;

const fn symbol(status: StatusCode, symbol: &'static str, message: &'static str) -> Refusal {
    Refusal::Symbol(status, symbol, std::borrow::Cow::Borrowed(message))
}

const NOT_ACTIVE: Refusal = symbol(StatusCode::FORBIDDEN, "user_not_active", "User is not active");
const LOCKED: Refusal = symbol(StatusCode::FORBIDDEN, "auth_locked", "Too many wrong passcodes: try again later");
const NO_USER: Refusal = symbol(StatusCode::NOT_FOUND, "user_not_found", "User not found");
const NO_EMAIL: Refusal = symbol(StatusCode::NOT_FOUND, "user_email_address_missing", "The user has no email address");
const NO_PHONE: Refusal = symbol(StatusCode::NOT_FOUND, "user_phone_number_missing", "The user has no phone number");
const WRONG: Refusal = symbol(StatusCode::BAD_REQUEST, "auth_invalid_credentials", "Invalid passcode");
const LATE: Refusal = symbol(StatusCode::BAD_REQUEST, "auth_otp_passcode_expired", "The passcode has expired");

fn invalid(message: String) -> Refusal {
    Refusal::Symbol(StatusCode::BAD_REQUEST, "system_invalid_input", message.into())
}

/// Where a code goes.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Channel {
    Email,
    Sms,
    /// Into the answer: the caller brings it to the user.
    Direct,
}

#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct SendPasscode {
    channel: Channel,
    /// `email`, `phone_number`, `user_id`, `username` or `external_user_id`; nobody has an identifier of another type.
    #[schema(example = "email")]
    identifier_type: String,
    #[schema(min_length = 1, example = "ada@example.com")]
    identifier: String,
    email_content: Option<EmailContent>,
    custom_sms_input: Option<CustomSms>,
    /// A flat object of up to 10 members, in letters, digits, `_`, `-` and `.`.
    #[schema(value_type = Option<Object>)]
    approval_data: Option<Map<String, Value>>,
    /// An address in place of the user's own.
    #[schema(format = "email")]
    custom_email: Option<String>,
    /// A number in place of the user's own, in E.164 form.
    custom_phone_number: Option<String>,
    /// Minutes, up to a day.
    #[schema(exclusive_minimum = 0, maximum = 1440)]
    expires_in: Option<f64>,
    client_attributes: Option<ClientAttributes>,
    #[schema(max_length = 80)]
    device_id: Option<String>,
    /// Whether the answer names a request ID that must come back with the code.
    generate_request_id: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
struct CustomSms {
    /// With `{otp}` and `{app}` in it.
    #[schema(max_length = 140)]
    custom_message: Option<String>,
    #[schema(max_length = 11)]
    sender_id: Option<String>,
}

impl SendPasscode {
    /// What is wrong with the fields, each for itself.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.email_content.as_ref().map_or_else(Vec::new, EmailContent::problems);
        let mut require = |fine: bool, message: &str| {
            if !fine {
                problems.push(message.to_owned());
            }
        };
        require(!self.identifier.is_empty(), "identifier should not be empty");
        require(
            self.expires_in.is_none_or(|minutes| minutes > 0.0 && minutes <= LONGEST_EXPIRATION),
            "expires_in must be a number of minutes between 0 and 1440",
        );
        if let Some(sms) = &self.custom_sms_input {
            let is_message = |text: &String| {
                text.chars().count() <= LONGEST_MESSAGE && text.contains("{otp}") && text.contains("{app}")
            };
            require(
                sms.custom_message.as_ref().is_none_or(is_message),
                "custom_sms_input.custom_message must have {otp} and {app} in it and at most 140 characters",
            );
            require(
                sms.sender_id.as_ref().is_none_or(|id| id.chars().count() <= LONGEST_SENDER),
                "custom_sms_input.sender_id must be shorter than or equal to 11 characters",
            );
        }
        require(
            self.approval_data.as_ref().is_none_or(is_approvable),
            "approval_data must be a flat object of at most 10 members in letters, digits, _, - and .",
        );
        problems
    }

    fn text(&self, usual: &str, app: &str, passcode: &str) -> String {
        let custom = self.custom_sms_input.as_ref().and_then(|sms| sms.custom_message.as_deref());
        // The name comes last, so that nothing in it is taken for a place to fill.
        let message = custom.unwrap_or(usual);
        message.replace("{otp}", passcode).replace("{app}", app)
    }
}

fn is_approvable(data: &Map<String, Value>) -> bool {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let is_value = |value: &Value| match value {
        Value::String(text) => is_plain(text),
        Value::Bool(_) => true,
        Value::Number(number) => is_plain(&number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    data.len() <= MOST_APPROVED && data.iter().all(|(name, value)| is_plain(name) && is_value(value))
}

#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct PasscodeSent {
    message: &'static str,
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    approval_data: Option<Map<String, Value>>,
    /// With `channel` `direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// With `generate_request_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// Where a code goes, for this user.
enum Receiver {
    Email(EmailAddress),
    Phone(PhoneNumber),
    Caller,
}

impl Receiver {
    fn of(call: &SendPasscode, user: &User) -> Result<Self, Refusal> {
        Ok(match call.channel {
            Channel::Email => Self::Email(match &call.custom_email {
                Some(text) => {
                    EmailAddress::parse(text).map_err(|_| invalid("custom_email must be an email".to_owned()))?
                }
                None => user.email.as_ref().map(|email| email.value.clone()).ok_or(NO_EMAIL)?,
            }),
            Channel::Sms => Self::Phone(match &call.custom_phone_number {
                Some(text) => PhoneNumber::parse(text)
                    .ok_or_else(|| invalid("custom_phone_number must be a phone number in E.164 form".to_owned()))?,
                None => user.phone.as_ref().map(|phone| phone.value.clone()).ok_or(NO_PHONE)?,
            }),
            Channel::Direct => Self::Caller,
        })
    }

    /// What redeeming the code shows, and the word for it in `amr`.
    fn proof(&self) -> (Proof, &'static str) {
        match self {
            Self::Email(address) => (Proof::Email(address.clone()), "eotp"),
            Self::Phone(number) => (Proof::Phone(number.clone()), "sms"),
            // RFC 8176: the way it takes is the caller's.
            Self::Caller => (Proof::Nothing, "otp"),
        }
    }
}

/// Sends a one-time code.
#[utoipa::path(
    post, path = "/cis/v1/auth/otp/send", tag = "codes", operation_id = "sendOTP",
    request_body = SendPasscode,
    responses(
        (status = 200, description = "The code is on its way", body = PasscodeSent),
        (status = 400, description = "`system_invalid_input`, or `external_provider_configuration_error` where no texts \
            can be sent", body = SymbolRefused),
        (status = 403, description = "`user_not_active`", body = SymbolRefused),
        (status = 404, description = "`user_not_found`, `user_email_address_missing` or `user_phone_number_missing`",
            body = SymbolRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn send(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    SymbolBody(call): SymbolBody<SendPasscode>,
) -> Result<Json<PasscodeSent>, Refusal> {
    let client = &caller.client;
    let problems = call.problems();
    if !problems.is_empty() {
        return Err(invalid(problems.join("; ")));
    }
    check_device_id(call.device_id.as_deref()).map_err(Refusal::into_invalid_input)?;
    let user = issuer.identified(client, &call.identifier_type, &call.identifier).await?.ok_or(NO_USER)?;
    if !user.is_active() {
        return Err(NOT_ACTIVE);
    }
    let receiver = Receiver::of(&call, &user)?;
    let now = issuer.clock.now();
    let lifetime =
        call.expires_in.map_or(issuer.config.codes.lifetime.0, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let expires_at = now.plus(lifetime);
    let request_id = call.generate_request_id.unwrap_or_default().then(|| random_token().expose().clone());
    let (proof, method) = receiver.proof();
    let order = Order {
        client_id: &client.id,
        user_id: &user.user_id,
        request_id: request_id.as_deref(),
        link: None,
        method,
        proof,
        approval_data: call.approval_data.clone(),
        expires_at,
        all_over_at: expires_at,
    };
    let passcode = issuer.make_passcode(order).await?;
    let language = issuer.pages.language(&headers);
    let mut code = None;
    match receiver {
        Receiver::Email(address) => {
            let facts = Facts { language, ..facts(client, &call, passcode.expose(), now, expires_at) };
            issuer.deliver(issuer.composer.compose(&address, facts)?).await?;
        }
        Receiver::Phone(number) => {
            let usual =
                issuer.pages.messages().say(language, "mail.text_message", &[("code", "{otp}"), ("app", "{app}")]);
            let text = call.text(&usual, &client.app_name, passcode.expose());
            issuer.deliver_text(number.as_str(), &text, passcode.expose()).await?;
        }
        Receiver::Caller => code = Some(passcode.expose().clone()),
    }
    Ok(Json(PasscodeSent { message: "OTP sent", approval_data: call.approval_data, code, request_id }))
}

/// What the mail with a code is about.
fn facts<'a>(
    client: &'a Client,
    call: &SendPasscode,
    passcode: &str,
    asked_at: Timestamp,
    expires_at: Timestamp,
) -> Facts<'a> {
    let attributes = call.client_attributes.clone().unwrap_or_default();
    Facts {
        language: Language::default(),
        app: &client.app_name,
        is_bound: client.is_own,
        link: None,
        code: Some(passcode.to_owned()),
        asked_at,
        expires_at,
        agent: Agent::well_known(attributes.user_agent.as_deref()),
        address: attributes.ip_address.and_then(|text| text.parse().ok()),
        content: call.email_content.clone(),
    }
}

#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct PasscodeLogin {
    #[schema(example = "123456")]
    passcode: String,
    /// As in the call that sent the code, or another identifier of the same user.
    #[schema(example = "email")]
    identifier_type: String,
    #[schema(example = "ada@example.com")]
    identifier: String,
    /// The session that this login is added to, in place of a new one.
    session_id: Option<String>,
    /// What the call that sent the code answered.
    request_id: Option<String>,
    #[serde(flatten)]
    wishes: Wishes,
}

/// Redeems a one-time code, also that of a mail with a link.
#[utoipa::path(
    post, path = "/cis/v1/auth/otp/authenticate", tag = "codes", operation_id = "authenticateOTP",
    request_body = PasscodeLogin,
    responses(
        (status = 200, description = "The user is signed in", body = TokenAnswer),
        (status = 400, description = "`system_invalid_input`, `auth_invalid_credentials` or `auth_otp_passcode_expired`",
            body = SymbolRefused),
        (status = 403, description = "`auth_locked` after too many wrong codes, or `user_not_active`",
            body = SymbolRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn authenticate(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    SymbolBody(login): SymbolBody<PasscodeLogin>,
) -> Result<Json<TokenAnswer>, Refusal> {
    let client = &caller.client;
    let granted = login.wishes.grant(client).map_err(Refusal::into_invalid_input)?;
    // Who is not there has no code: the answer tells nobody who is.
    let user = issuer.identified(client, &login.identifier_type, &login.identifier).await?.ok_or(WRONG)?;
    if !user.is_active() {
        return Err(NOT_ACTIVE);
    }
    let earlier = issuer.earlier_session(login.session_id.as_deref(), &user).await;
    let earlier = earlier.map_err(Refusal::into_invalid_input)?;
    let guess = issuer.guess(&client.id, &user.user_id, login.request_id.as_deref(), &login.passcode);
    let code = match guess.await? {
        Guess::Right(code) => code,
        Guess::Wrong => return Err(WRONG),
        Guess::Late => return Err(LATE),
        Guess::Locked => return Err(LOCKED),
    };
    let shown = Shown { method: &code.method, proof: &code.proof, approval_data: code.approval_data };
    let signed_in = issuer.sign_in(&caller, earlier, &user.user_id, shown).await;
    let (user, session) = signed_in.map_err(Refusal::into_invalid_input)?;
    Ok(Json(issuer.grant_tokens(&caller, &user, &session, granted).await?))
}
