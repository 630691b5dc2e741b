//! `linkgate users add`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::administration::{Made, TAKEN, failed, make};
use super::super::output::{print, print_json, refuse};
use super::super::{FAILED, WRONG};
use crate::gateway::administration::{Service, Users};
use crate::identity::{EmailAddress, Identifier, IdentifierKind};
use crate::mosaic::{NewName, NewUser};

/// The user to be made.
#[derive(Args)]
pub(in super::super) struct Arguments {
    /// The mail address
    #[arg(value_parser = address)]
    email: EmailAddress,
    /// The name to show, like "Ada Lovelace"
    #[arg(long)]
    name: Option<String>,
    /// The phone number, like +12025550123
    #[arg(long, value_parser = phone)]
    phone: Option<String>,
    /// The user name
    #[arg(long)]
    username: Option<String>,
    /// A group; once for each (built-in issuer only)
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// A role; once for each (built-in issuer only)
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Data of your own, which identity headers can tell; once for each
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    data: Vec<(String, String)>,
    /// Print JSON instead of a line
    #[arg(long)]
    json: bool,
}

pub(in super::super) fn address(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).map_err(|error| error.to_string())
}

fn phone(text: &str) -> Result<String, String> {
    let number = IdentifierKind::PhoneNumber.read(text).map_err(|error| error.to_string())?;
    Ok(number.value().to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A whole name in the two parts that Mosaic knows: the last word is the last name.
pub(in super::super) fn name_in_parts(whole: &str) -> Option<NewName> {
    let whole = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    let (first, last) = whole.rsplit_once(' ').map_or((whole.as_str(), None), |(first, last)| (first, Some(last)));
    (!first.is_empty()).then(|| NewName { first_name: Some(first.to_owned()), last_name: last.map(str::to_owned) })
}

/// What to do where Mosaic has no such field.
pub(in super::super) const AT_MOSAIC: &str = "Mosaic assigns roles and groups in its own portal; leave them out here";

pub(super) async fn add(users: &Users, arguments: Arguments) -> Result<ExitCode, ExitCode> {
    let has_groups = !arguments.group.is_empty() || !arguments.role.is_empty();
    if has_groups && users.service == Service::Mosaic {
        return Err(refuse("`--group` and `--role` work with the built-in issuer only", Some(AT_MOSAIC), WRONG));
    }
    let name = arguments.name.as_deref().and_then(name_in_parts);
    if name.as_ref().is_some_and(|name| !name.fits()) {
        let message = format!("`--name`: first and last name have at most {} characters each", NewName::LONGEST_PART);
        return Err(refuse(&message, None, WRONG));
    }
    let data = arguments.data.into_iter().map(|(key, value)| (key, Value::from(value)));
    let user = NewUser {
        email: Some(arguments.email.clone()),
        phone_number: arguments.phone,
        username: arguments.username,
        name,
        custom_data: data.collect::<Map<_, _>>(),
        groups: arguments.group,
        roles: arguments.role,
        ..NewUser::default()
    };
    let is_new = match make(&users.mosaic, &user).await.map_err(|error| failed(&error))? {
        Made::New => true,
        Made::There => false,
        Made::Taken => return Err(refuse(&format!("{} was not added: {TAKEN}", arguments.email), None, FAILED)),
    };
    // Mosaic may need a moment until it finds a user that it made; that there is one is certain all the same.
    let found = users.mosaic.find_user(&Identifier::Email(arguments.email.clone())).await.ok().flatten();
    if arguments.json {
        let record = found.map(|user| Value::Object(user.record));
        print_json(&json!({ "added": is_new, "user": record }));
        return Ok(ExitCode::SUCCESS);
    }
    let id = found.map(|user| format!(" ({})", user.subject)).unwrap_or_default();
    let (address, done) = (arguments.email, if is_new { "added" } else { "is there already, and was not changed" });
    print(&format!("{address}{id}: {done}\n"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_the_last_name() {
        let check = |whole: &str, expected: Option<(&str, Option<&str>)>| {
            let found = name_in_parts(whole);
            let found =
                found.as_ref().map(|name| (name.first_name.as_deref().unwrap_or(""), name.last_name.as_deref()));
            assert_eq!(found, expected, "{whole:?}");
        };
        check("Ada Lovelace", Some(("Ada", Some("Lovelace"))));
        check(" Augusta  Ada   King ", Some(("Augusta Ada", Some("King"))));
        check("Ada", Some(("Ada", None)));
        check("  ", None);
    }
}
