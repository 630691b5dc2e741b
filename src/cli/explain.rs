//! `linkgate explain`: what would become of a request, and which lines of gateway.toml say so. It asks nobody but, about
//! somebody whom the rules keep out, the store for a grant.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderMap, Method};

use super::administration::with_loaded;
use super::output::{fail, plain, print, print_json, refuse, say, table};
use super::{WRONG, load};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Purpose};
use crate::gateway::administration::grants;
use crate::gateway::explain::{Explainer, Explanation, Question, split};
use crate::session::Chain;
use crate::setting::Span;

mod field;
mod somebody;
mod words;

/// The request, and whose it would be.
#[derive(Args)]
pub(super) struct Arguments {
    /// The address that is opened, byte for byte as it would be sent
    url: String,
    /// Who is signed in: an address, or another name where `sign_in.identifier` asks for one; nobody without it
    #[arg(long = "as", value_name = "ADDRESS")]
    name: Option<String>,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// What the visitor's tokens say: `custom_data.team=ops`; several of one name make a list
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "name")]
    claims: Vec<String>,
    /// A group of the visitor
    #[arg(long = "group", value_name = "GROUP", requires = "name")]
    groups: Vec<String>,
    /// A role of the visitor
    #[arg(long = "role", value_name = "ROLE", requires = "name")]
    roles: Vec<String>,
    /// Whom the connection is from
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    peer: IpAddr,
    /// How long ago the visitor signed in, like `5m`; just now without it
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "name")]
    signed_in_ago: Option<Span>,
    /// A header field of the request
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// When it is: `2026-05-04T10:20:30Z`; now without it
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::from_rfc_3339(text).ok_or("expected a time like 2026-05-04T10:20:30Z")
}

/// Explains a request by the configuration at `file`.
pub(super) fn explain(file: &Path, arguments: &Arguments) -> ExitCode {
    let config = match load(file, Purpose::Gateway) {
        Ok(config) => config,
        Err(code) => return code,
    };
    with_loaded(&config, async |config| {
        show(&explained(config, arguments).await?, file, arguments);
        Ok(ExitCode::SUCCESS)
    })
}

fn show(explanation: &Explanation, file: &Path, arguments: &Arguments) {
    if arguments.json {
        let mut value = serde_json::json!(explanation);
        value["file"] = file.to_string_lossy().into();
        print_json(&value);
    } else {
        print(&table(&words::rows(explanation, arguments.name.as_deref(), file)));
    }
}

async fn explained(config: &Config, arguments: &Arguments) -> Result<Explanation, ExitCode> {
    let clock = Clock::system();
    let now = arguments.at.unwrap_or_else(|| clock.now());
    let mut question = question(arguments, now).map_err(|wrong| refuse(&wrong, None, WRONG))?;
    let identity = somebody::supposed(config, arguments).map_err(|wrong| refuse(&wrong, None, WRONG))?;
    let explainer =
        Explainer::new(config, clock.clone()).map_err(|error| fail(&error, error.hint().as_deref(), WRONG))?;
    let is_somebody = identity.is_some();
    let signed_in_at = now.minus(arguments.signed_in_ago.map(|ago| ago.0).unwrap_or_default());
    question.visitor = identity.and_then(|who| explainer.suppose(who, signed_in_at));
    let found = if is_somebody { with_grants(config, &explainer, &question, &clock).await } else { Ok(None) };
    let found = found.unwrap_or_else(|why| {
        say(&format!("note: what was granted is left out: failed to {}\n", plain(&why)));
        None
    });
    let mut explanation = found.unwrap_or_else(|| explainer.explain(&question));
    explanation.is_refused_at_sign_in = is_somebody && question.visitor.is_none();
    Ok(explanation)
}

/// What the rules and the grants in the store come to; nothing where there is no store to have any. Fails with the reason why
/// the store cannot answer.
async fn with_grants(
    config: &Config,
    explainer: &Explainer,
    question: &Question,
    clock: &Clock,
) -> Result<Option<Explanation>, String> {
    let Some(grants) = grants(config, clock).map_err(|error| Chain(&error).to_string())? else { return Ok(None) };
    let explained = explainer.explain_with(question, &grants).await;
    explained.map(Some).map_err(|error| Chain(&error).to_string())
}

fn question(arguments: &Arguments, now: Timestamp) -> Result<Question, String> {
    let wrong = || format!("`{}` is no address like https://app.example.com/reports", arguments.url);
    let (authority, target) = split(&arguments.url).ok_or_else(wrong)?;
    let mut headers = HeaderMap::new();
    for field in &arguments.headers {
        let (name, value) = field::field(field)?;
        headers.append(name, value);
    }
    let (method, peer) = (arguments.method.clone(), arguments.peer);
    Ok(Question { method, authority: authority.to_owned(), target, headers, peer, visitor: None, grant: None, now })
}
