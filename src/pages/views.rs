//! The pages of sign-in, sign-out and refusal: what each of them shows, in every state it can be in.
//!
//! `return_to` is always a target that the portal has accepted.

use serde::{Serialize, Serializer};

mod account;
mod asking;

use super::View;
use super::mail_domains::Webmail;
use crate::clock::Timestamp;
use crate::identity::{EmailAddress, IdentifierKind};
use crate::setting::Span;

pub use account::*;
pub use asking::*;

/// Ties each view to its template.
macro_rules! views {
    ($($view:ty => $template:literal),+ $(,)?) => {
        $(impl View for $view {
            const TEMPLATE: &'static str = $template;
        })+
    };
}

views! {
    EnterAddress => "sign_in.html",
    CheckEmail => "check_email.html",
    CodeExpired => "code_expired.html",
    CodeLocked => "code_locked.html",
    SignedInElsewhere => "signed_in_elsewhere.html",
    LinkExpired => "link_expired.html",
    LinkUsed => "link_used.html",
    NewerEmail => "newer_email.html",
    OtherBrowser => "other_browser.html",
    ChooseNumber => "choose_number.html",
    NumberChosen => "number_chosen.html",
    NumberStopped => "number_stopped.html",
    SignInStopped => "sign_in_stopped.html",
    AlreadySignedIn => "already_signed_in.html",
    NoAccess => "no_access.html",
    NotAdmitted => "not_admitted.html",
    Problem => "problem.html",
    SignInUnavailable => "sign_in_unavailable.html",
    TooManyRequests => "too_many_requests.html",
    SignOut => "sign_out.html",
    SignedOut => "signed_out.html",
    CookiesBlocked => "cookies_blocked.html",
    NotFound => "not_found.html",
    UnknownHost => "unknown_host.html",
    StaleForm => "stale_form.html",
    BadRequest => "bad_request.html",
    Refused => "refused.html",
    DebugPage => "debug.html",
    Account => "account.html",
    Device => "device.html",
    AskedForAccess => "asked_for_access.html",
    AccessRequest => "access_request.html",
    AccessRequestGone => "access_request_gone.html",
}

/// The sign-in page: asks for an address.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EnterAddress {
    /// Ties the form to this browser.
    pub csrf: String,
    /// The page first asked for; empty when the sign-in page was.
    pub return_to: String,
    /// That page as it is shown to the visitor, when there is something to show.
    pub going_to: Option<String>,
    /// What kind of name is asked for.
    pub kind: IdentifierKind,
    /// What the operator calls it.
    pub label: Option<String>,
    /// The organisation that the link to this page named.
    pub organization: String,
    /// Whether it is a further proof by somebody who is signed in.
    pub step_up: bool,
    /// What was typed, kept as it was.
    pub address: String,
    /// What is wrong with it.
    pub problem: Option<AddressProblem>,
    /// The address that was probably meant.
    pub suggestion: Option<EmailAddress>,
    /// Why the visitor is here again.
    pub notice: Option<Notice>,
}

/// What is wrong with a typed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressProblem {
    /// Nothing was typed.
    Empty,
    /// It is not a complete address.
    Incomplete,
}

/// Why a visitor who was signed in sees the sign-in page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// The session was not used for as long as it may rest.
    EndedIdle {
        /// How long that is.
        #[serde(serialize_with = "in_minutes")]
        idle_timeout: Span,
    },
    /// The session had reached its lifetime.
    EndedLifetime,
    /// The session ended while a form was being sent; what was typed there is lost.
    FormInterrupted,
    /// The form was another's by the time it was sent, and has to be sent again.
    FormRenewed,
}

/// "Check your email": the same for every address, whoever typed it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckEmail {
    /// Ties the forms to this browser.
    pub csrf: String,
    /// The address, or the other name, as it was read.
    pub address: String,
    /// The way in by a typed code, where that is on.
    pub code: Option<CodeEntry>,
    /// The number to choose where the link is opened on another device, where that is on.
    pub number: Option<u8>,
    /// The organisation that was asked for.
    pub organization: String,
    /// Whether it is a further proof by somebody who is signed in, so that being signed in says nothing.
    pub step_up: bool,
    /// When the link ends.
    pub expires_at: Timestamp,
    /// When another mail may be asked for.
    pub resend_at: Timestamp,
    /// When another mail was sent, after "Send again".
    pub sent_again_at: Option<Timestamp>,
    /// Until when this address gets no further mail; "Send again" is left out then.
    pub limit_until: Option<Timestamp>,
    /// Where the visitor reads this mail.
    pub webmail: Option<Webmail>,
    /// The address that the mail comes from, where it is known.
    pub sender: Option<String>,
    /// The address that was probably meant: a mail is on its way to the typed one all the same.
    pub suggestion: Option<EmailAddress>,
    /// Where sign-in leads.
    pub return_to: String,
}

/// The way in by a typed code, on the waiting page.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CodeEntry {
    /// Whether codes go to a phone.
    pub is_text: bool,
    /// Whether a code was asked for, so that there is one to type.
    pub is_asked: bool,
    /// Whether it comes in the mail with the link, so that asking for one is asking for a link.
    pub comes_with_link: bool,
    /// Whether the code that was typed is wrong.
    pub is_wrong: bool,
}

/// A code was typed too late.
#[derive(Clone, Debug, Serialize)]
pub struct CodeExpired {
    /// How long codes work.
    #[serde(serialize_with = "in_minutes", rename = "minutes")]
    pub lifetime: Span,
    /// Who asked for it.
    pub address: Option<String>,
    /// Ties the form to this browser.
    pub csrf: String,
    /// Where sign-in leads.
    pub return_to: String,
}

/// Too many wrong codes were typed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CodeLocked {
    /// When it is worth trying again.
    pub until: Timestamp,
}

/// The waiting page's other end: sign-in was finished in another tab.
#[derive(Clone, Debug, Serialize)]
pub struct SignedInElsewhere {
    /// Where sign-in leads.
    pub continue_to: String,
}

/// The link was opened too late.
#[derive(Clone, Debug, Serialize)]
pub struct LinkExpired {
    /// How long links work.
    #[serde(serialize_with = "in_minutes", rename = "minutes")]
    pub link_lifetime: Span,
    /// Who asked for it, when this browser did.
    pub address: Option<String>,
    /// Ties the form to this browser.
    pub csrf: String,
    /// Where sign-in leads.
    pub return_to: String,
}

/// The link was already used, and nobody is signed in here.
#[derive(Clone, Debug, Serialize)]
pub struct LinkUsed {
    /// Who asked for it, when this browser did.
    pub address: Option<String>,
    /// Ties the form to this browser.
    pub csrf: String,
    /// Where sign-in leads.
    pub return_to: String,
}

/// The link is not the newest one.
#[derive(Clone, Debug, Serialize)]
pub struct NewerEmail {
    /// When the newest one was sent.
    pub sent_at: Timestamp,
    /// Who asked for it, when this browser did.
    pub address: Option<String>,
    /// Ties the form to this browser.
    pub csrf: String,
    /// Where sign-in leads.
    pub return_to: String,
}

/// The link was opened in a browser that did not ask for it. Shows nothing about anybody and uses nothing up.
///
/// Its "Copy link" copies the address in the browser's address bar, so the page has to be shown there: at the callback.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OtherBrowser {
    /// Whether a code can be typed where sign-in began.
    pub codes: bool,
}

/// The link was opened on another device: where sign-in was asked for, and three numbers. Shows nothing about anybody else
/// and uses nothing up.
#[derive(Clone, Debug, Serialize)]
pub struct ChooseNumber {
    /// Ties the form to this browser.
    pub csrf: String,
    /// What the link brought, for this browser's form only.
    pub opened: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// With which browser; empty where it is not a well-known one.
    pub browser: String,
    /// On which system, where it is known.
    pub system: Option<String>,
    /// From which address.
    pub client: String,
    /// The numbers, one of which is shown where sign-in was asked for.
    pub numbers: [u8; 3],
}

/// The other device chose the right number.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NumberChosen {}

/// The other device chose a wrong number, and the sign-in is over.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NumberStopped {}

/// Where sign-in was asked for: another device chose a wrong number, and the link is dead.
#[derive(Clone, Debug, Serialize)]
pub struct SignInStopped {
    /// Ties the form to this browser.
    pub csrf: String,
    /// The address, or the other name, as it was read.
    pub address: String,
    /// The organisation that was asked for.
    pub organization: String,
    /// Whether it is a further proof by somebody who is signed in.
    pub step_up: bool,
    /// When another mail may be asked for.
    pub resend_at: Timestamp,
    /// Where sign-in leads.
    pub return_to: String,
}

/// The sign-in page for someone who is signed in.
#[derive(Clone, Debug, Serialize)]
pub struct AlreadySignedIn {
    /// What the visitor is known by: the address, or else a name.
    pub address: String,
    /// Ties the form to this browser.
    pub csrf: String,
    /// Where "Continue" leads.
    pub return_to: String,
}

/// 403: not allowed here.
#[derive(Clone, Debug, Serialize)]
pub struct NoAccess {
    /// What the visitor is known by: the address, or else a name. Nobody where they are not signed in.
    pub address: Option<String>,
    /// Ties the form to this browser.
    pub csrf: String,
    /// The page asked for, where signing in with another account leads.
    pub return_to: String,
    /// Why, where visitors are told: `denied`, `not_named`, `network` or `hours`.
    pub reason: Option<&'static str>,
    /// The operator's words on why, and what to do.
    pub text: Option<String>,
    /// The route whose owners can be asked for access, where they can.
    pub ask: Option<String>,
}

/// 403: proved who they are, and may not sign in.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NotAdmitted {}

/// Something failed that is not the visitor's doing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Problem {
    /// Whose doing it is.
    pub kind: ProblemKind,
    /// The status of the answer.
    pub status: u16,
}

/// Whose doing a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Ours: 500.
    Own,
    /// The upstream answers wrongly or too late: 502 and 504.
    Upstream,
    /// Something that is needed is away for a while: 503.
    Unavailable,
}

/// Mosaic or the issuer cannot be reached: nobody can sign in, everybody else can carry on.
/// It leads to where the visitor is: a link that came back works when it is opened again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SignInUnavailable {}

/// 429, outside of the waiting page.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TooManyRequests {
    /// When it is worth trying again.
    pub until: Timestamp,
}

/// Asks before signing out.
#[derive(Clone, Debug, Serialize)]
pub struct SignOut {
    /// Ties the form to this browser.
    pub csrf: String,
    /// What the visitor is known by: the address, or else a name.
    pub address: String,
    /// Whether there are other hosts that this signs out of too.
    pub all_sites: bool,
}

/// Signed out, and true by the time it is shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SignedOut {
    /// Whether every device was.
    pub everywhere: bool,
}

/// The browser came back without the cookie it was given.
#[derive(Clone, Debug, Serialize)]
pub struct CookiesBlocked {
    /// The host whose cookies have to be allowed.
    pub host: String,
    /// The page first asked for.
    pub return_to: String,
    /// Whether it comes back all the same, and nobody here knows it.
    pub comes_back: bool,
}

/// 404 below `/.linkgate/`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NotFound {}

/// 421: a host that no route names. Without form, link or name, since who came here was looking for something else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnknownHost {}

/// A form whose token is not this browser's, mostly because the page was open for long.
#[derive(Clone, Debug, Serialize)]
pub struct StaleForm {
    /// The page first asked for.
    pub return_to: String,
}

/// 400: a request with two readings, or with a part missing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BadRequest {}

/// Any other refusal of a request: 405, 411, 413, 414, 415, 431.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refused {
    /// The status of the answer.
    pub status: u16,
}

/// The debug page: what the gateway knows of its visitor, and what it makes of an address.
#[derive(Clone, Debug, Serialize)]
pub struct DebugPage {
    /// What the visitor is known by.
    pub address: String,
    /// Their lasting name.
    pub subject: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their roles.
    pub roles: Vec<String>,
    /// When they last proved who they are.
    pub signed_in_at: Timestamp,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// After how long without a request it ends before that.
    #[serde(serialize_with = "in_minutes")]
    pub idle_timeout: Span,
    /// The address that is asked about, as it was typed.
    pub asked: String,
    /// What becomes of it; nothing where it is no address.
    pub explained: Option<Explained>,
    /// What was refused lately, the newest first.
    pub refusals: Vec<RefusedBefore>,
}

/// A request of the visitor that the rules refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedBefore {
    /// When it was.
    pub at: Timestamp,
    /// Host and path.
    pub address: String,
    /// The word for it in logs and metrics.
    pub verdict: &'static str,
    /// What the rules have against the visitor, by its stable name.
    pub reason: &'static str,
    /// The name of the request in every log.
    pub request_id: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explained {
    /// The visitor's address on the network.
    pub client: String,
    /// The path in its one spelling.
    pub path: Option<String>,
    /// The route, and where it is in the configuration.
    pub route: Option<String>,
    /// The setting that opens the path to everybody.
    pub opened_by: Option<String>,
    /// The word for it in logs and metrics.
    pub verdict: &'static str,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// What the rules have against the visitor, by its stable name.
    pub reason: Option<&'static str>,
    /// Whether they only observe.
    pub is_observed: bool,
    /// The rule that decides, and where it is in the configuration.
    pub rule: Option<String>,
    /// What that rule says.
    pub rule_text: Option<String>,
    /// The grant that decides: by whom, from when, until when.
    pub grant: Option<String>,
    /// The servers, one of which gets the request.
    pub servers: Vec<String>,
    /// Path and query, as they get them.
    pub target: String,
    /// The header fields that they get, with secrets masked.
    pub fields: Vec<(String, String)>,
}

fn in_minutes<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(span.0.as_secs().div_ceil(60))
}
