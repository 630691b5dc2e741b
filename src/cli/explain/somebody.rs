//! The visitor of `linkgate explain`: made up of what was typed, as the tokens of somebody real would say it.

use serde_json::{Map, Value};

use super::Arguments;
use crate::config::Config;
use crate::identity::{ClaimPath, EmailAddress, Identifier, IdentifierKind, Identity, Subject};

/// Who is signed in by what was typed; nobody where nothing was.
pub(super) fn supposed(config: &Config, arguments: &Arguments) -> Result<Option<Identity>, String> {
    let Some(name) = &arguments.name else { return Ok(None) };
    let kind = &config.sign_in.identifier;
    let identifier = kind.read(name).map_err(|error| format!("`--as {name}`: {error}"))?;
    let mut identity = known_by(identifier)?;
    identity.groups.clone_from(&arguments.groups);
    identity.roles.clone_from(&arguments.roles);
    for claim in &arguments.claims {
        let wrong = |why: &str| format!("`--claim {claim}`: {why}");
        let (name, value) = claim.split_once('=').ok_or_else(|| wrong("expected NAME=VALUE"))?;
        tell(&mut identity, name, value).map_err(|why| wrong(&why))?;
    }
    Ok(Some(identity))
}

fn known_by(identifier: Identifier) -> Result<Identity, String> {
    let mut identity = Identity::new(subject("supposed")?);
    match identifier {
        Identifier::Email(address) => (identity.email, identity.email_verified) = (Some(address), true),
        Identifier::Other { kind, value } => match kind {
            IdentifierKind::UserId => identity.subject = subject(&value)?,
            IdentifierKind::PhoneNumber => identity.phone_number = Some(value),
            IdentifierKind::Username => identity.username = Some(value),
            IdentifierKind::Email | IdentifierKind::Custom(_) => identity.name = Some(value),
        },
    }
    Ok(identity)
}

fn subject(text: &str) -> Result<Subject, String> {
    Subject::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// Has the visitor's tokens say one thing more.
fn tell(identity: &mut Identity, name: &str, value: &str) -> Result<(), String> {
    let text = value.to_owned();
    match name {
        "sub" => identity.subject = subject(value)?,
        "email" => identity.email = Some(EmailAddress::parse(value).map_err(|error| error.to_string())?),
        "email_verified" => identity.email_verified = value.parse().map_err(|_| "expected true or false")?,
        "name" => identity.name = Some(text),
        "username" => identity.username = Some(text),
        "phone_number" => identity.phone_number = Some(text),
        "organization" => identity.organization = Some(text),
        "groups" => identity.groups.push(text),
        "roles" | "role_values" => identity.roles.push(text),
        "permissions" => identity.permissions.push(text),
        other => {
            let path = ClaimPath::try_from(other.to_owned()).map_err(|error| error.to_string())?;
            add(&mut identity.claims, &path.to_string(), text);
        }
    }
    Ok(())
}

/// Adds a value to a claim or a member of one: where there is one already, the two are a list.
fn add(claims: &mut Map<String, Value>, path: &str, value: String) {
    if let Some((name, rest)) = path.split_once('.') {
        let inner = claims.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        if let Value::Object(inner) = inner {
            add(inner, rest, value);
        }
        return;
    }
    match claims.get_mut(path) {
        Some(Value::Array(values)) => values.push(value.into()),
        Some(one) => *one = Value::Array(vec![one.take(), value.into()]),
        None => drop(claims.insert(path.to_owned(), value.into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_lead_into_tables_and_several_make_a_list() {
        let mut ada = Identity::new(subject("u1").unwrap());
        let told = [
            ("sub", "u2"),
            ("email", "Ada@Example.com"),
            ("email_verified", "true"),
            ("groups", "ops"),
            ("groups", "on, call"),
            ("role_values", "admin"),
            ("organization", "org-1"),
            ("custom_data.team", "sales"),
            ("custom_data.site.city", "Bonn"),
            ("custom_data.sites", "a"),
            ("custom_data.sites", "b"),
            ("custom_data.sites", "c"),
        ];
        for (name, value) in told {
            tell(&mut ada, name, value).unwrap();
        }
        let custom = json!({ "team": "sales", "site": { "city": "Bonn" }, "sites": ["a", "b", "c"] });
        let expected = Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            groups: vec!["ops".to_owned(), "on, call".to_owned()],
            roles: vec!["admin".to_owned()],
            organization: Some("org-1".to_owned()),
            claims: [("custom_data".to_owned(), custom)].into_iter().collect(),
            ..Identity::new(subject("u2").unwrap())
        };
        assert_eq!(ada, expected);
        for (name, value) in [("department", "x"), ("email", "x"), ("email_verified", "yes"), ("sub", "")] {
            assert!(tell(&mut ada, name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_visitor_is_known_by_what_sign_in_asks_for() {
        let known = |kind: &str, name: &str| {
            let kind = IdentifierKind::try_from(kind.to_owned()).unwrap();
            known_by(kind.read(name).unwrap()).unwrap()
        };
        assert!(known("email", "ada@example.com").email_verified);
        assert_eq!(known("user_id", "u7").subject.as_str(), "u7");
        assert_eq!(known("phone_number", "+49 228 1234567").phone_number.as_deref(), Some("+492281234567"));
        assert_eq!(known("username", "ada").username.as_deref(), Some("ada"));
        assert_eq!(known("badge", "1234").name.as_deref(), Some("1234"));
    }
}
