//! `linkgate invite`: a grant for somebody, who may be new here, and a mail with a link.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::administration::{Made, failed, make, not_opened, with_config};
use super::output::{fail, print, print_json, refuse};
use super::users::address;
use super::{FAILED, WRONG};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::gateway::administration::{Administration, letter_of_invitation};
use crate::grant::{Giver, Grant};
use crate::identity::EmailAddress;
use crate::mosaic::NewUser;
use crate::setting::Span;

/// A mail is tried for this long where the grant goes on longer.
const MAILED: Span = Span::days(7);

/// Whom to invite to what.
#[derive(Args)]
pub(super) struct Invite {
    /// The mail address of the invited; a user is made where there is none
    #[arg(value_parser = address)]
    address: EmailAddress,
    /// The route, by host and path as logs name it, like `app.example.com/wiki`, or by its path alone
    #[arg(long, value_name = "NAME")]
    route: String,
    /// How long they may pass it, like `12h`
    #[arg(long = "for", value_name = "SPAN", default_value = "7d", value_parser = span)]
    span: Span,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

fn span(text: &str) -> Result<Span, String> {
    let span = Span::try_from(text.to_owned()).map_err(|error| error.to_string())?;
    if span.0.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(span) }
}

/// Invites.
pub(super) fn invite(file: &Path, asked: &Invite) -> ExitCode {
    with_config(file, async |config| invited(config, asked).await)
}

async fn invited(config: &Config, asked: &Invite) -> Result<ExitCode, ExitCode> {
    let Open { route, link } =
        find(config, &asked.route).map_err(|(wrong, hint)| refuse(&wrong, Some(&hint), WRONG))?;
    let allow = &config.sign_in.allow;
    if !allow.is_empty() && !allow.iter().any(|rule| rule.names(&asked.address)) {
        let hint = "add the address to `sign_in.allow`: a grant is for those who may sign in";
        return Err(refuse(&format!("`sign_in.allow` does not let {} sign in", asked.address), Some(hint), FAILED));
    }
    let clock = Clock::system();
    let opened = Administration::open(config, clock.clone()).await.map_err(|error| not_opened(&error))?;
    let user = NewUser { email: Some(asked.address.clone()), ..NewUser::default() };
    let made = make(&opened.users.mosaic, &user).await.map_err(|error| failed(&error))?;
    let is_new = matches!(made, Made::New);
    let now = clock.now();
    let grant = Grant {
        address: asked.address.clone(),
        route,
        given_by: Giver::Operator,
        given_at: now,
        expires_at: now.plus(asked.span.0),
    };
    opened.grants.give(&grant).await.map_err(|error| fail(&error, None, FAILED))?;
    let is_mailed = mail(config, &opened, &grant, &link).await;
    say(asked, &grant, &link, is_new, is_mailed.as_ref().is_ok_and(|is_mailed| *is_mailed));
    is_mailed.map(|_| ExitCode::SUCCESS)
}

/// Whether the invitation is on its way: there is no mail to send with Mosaic.
async fn mail(config: &Config, opened: &Administration, grant: &Grant, link: &str) -> Result<bool, ExitCode> {
    let Some(post) = &opened.users.post else { return Ok(false) };
    let letter = letter_of_invitation(config, grant, link).map_err(|error| not_opened(&error))?;
    let until: Timestamp = grant.expires_at.min(grant.given_at.plus(MAILED.0));
    let hint = "the grant stands: pass the link on yourself, or invite them again";
    post.send(&grant.address, letter, until).await.map_err(|error| fail(&error, Some(hint), FAILED))?;
    Ok(true)
}

fn say(asked: &Invite, grant: &Grant, link: &str, is_new: bool, is_mailed: bool) {
    let Grant { address, route, expires_at, .. } = grant;
    if asked.json {
        return print_json(&json!({
            "grant": grant.key().id(),
            "address": address,
            "route": route,
            "expires_at": expires_at.to_string(),
            "link": link,
            "user_added": is_new,
            "mailed": is_mailed,
        }));
    }
    let user = if is_new { "a user was added" } else { "the user was there already" };
    let mail = if is_mailed { "a link was mailed" } else { "no mail was sent; pass the link on yourself" };
    print(&format!("{address} may pass {route} until {expires_at}\n{user}\n{mail}: {link}\n"));
}

/// A route that somebody can be invited to.
struct Open {
    route: String,
    link: String,
}

/// The route that is meant; or why it is none to invite to, and what to do.
fn find(config: &Config, meant: &str) -> Result<Open, (String, String)> {
    let host = &config.public_url.host;
    let name = if meant.starts_with('/') { format!("{host}{meant}") } else { meant.to_owned() };
    let mut named = config.route.iter().filter(|route| route.name(host) == name).peekable();
    if named.peek().is_none() {
        let names: Vec<_> = config.route.iter().filter(|route| route.allow.is_some()).map(|it| it.name(host)).collect();
        let hint = if names.is_empty() {
            "no route has an `allow` rule".to_owned()
        } else {
            format!("these have `allow` rules: {}", names.join(", "))
        };
        return Err((format!("there is no route {meant:?}"), hint));
    }
    let Some(route) = named.find(|route| route.allow.is_some()) else {
        let hint = "add the user with `linkgate users add`, if they cannot sign in yet".to_owned();
        return Err((format!("the route {name} has no `allow` rule: whoever is signed in passes it"), hint));
    };
    match route.link(&config.public_url) {
        Some(link) => Ok(Open { route: name, link }),
        None => Err((
            format!("the route {name} is for many hosts, so that no link leads to it"),
            "give the host that is meant a route of its own".to_owned(),
        )),
    }
}
