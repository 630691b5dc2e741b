//! `linkgate users show` and `linkgate users list`.

use std::process::ExitCode;

use serde_json::Value;

use super::super::administration::{failed, find};
use super::super::output::{print, print_json, say, table};
use crate::clock::Timestamp;
use crate::gateway::administration::Users;
use crate::identity::Identifier;
use crate::mosaic::User;

/// Users that one call asks for.
const PAGE: u32 = 2000;

pub(super) async fn show(users: &Users, who: &Identifier, json: bool) -> Result<ExitCode, ExitCode> {
    let user = find(&users.mosaic, who).await?;
    if json {
        print_json(&Value::Object(user.record));
    } else {
        print(&table(&lines(&user)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The record with its best known members first.
fn lines(user: &User) -> Vec<Vec<String>> {
    const SHOWN: [&str; 5] = ["user_id", "email", "name", "status", "phone_number"];
    let address = user.email.as_ref().map(ToString::to_string);
    let verified = if user.email_verified { "verified" } else { "not verified" };
    let known = [
        ("id", Some(user.subject.to_string())),
        ("email", address.map(|address| format!("{address} ({verified})"))),
        ("name", user.name.clone()),
        ("phone_number", user.phone_number.clone()),
        ("status", Some(status(user))),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    let others = user.record.iter().filter(|(name, _)| !SHOWN.contains(&name.as_str()));
    known.chain(others.filter_map(|(name, value)| Some(vec![name.clone(), text(name, value)?]))).collect()
}

/// A member of the record; `None` where it says nothing.
fn text(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(members) if members.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if name.ends_with("_at") => {
            let moment = number.as_i64().map(|millis| Timestamp::from_unix_millis(millis).to_string());
            Some(moment.unwrap_or_else(|| number.to_string()))
        }
        Value::Array(list) => {
            let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Some(words.map_or_else(|| value.to_string(), |words| words.join(", ")))
        }
        _ => Some(value.to_string()),
    }
}

fn status(user: &User) -> String {
    user.record.get("status").and_then(Value::as_str).unwrap_or_default().to_lowercase()
}

pub(super) async fn list(users: &Users, json: bool) -> Result<ExitCode, ExitCode> {
    let all = all(users).await?;
    if json {
        print_json(&all.into_iter().map(|user| Value::Object(user.record)).collect());
    } else if all.is_empty() {
        say("there are no users\n");
    } else {
        let header = ["ID", "EMAIL", "NAME", "PHONE", "STATUS"].map(str::to_owned).to_vec();
        let rows: Vec<_> = [header].into_iter().chain(all.iter().map(row)).collect();
        print(&table(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(user: &User) -> Vec<String> {
    vec![
        user.subject.to_string(),
        user.email.as_ref().map(ToString::to_string).unwrap_or_default(),
        user.name.clone().unwrap_or_default(),
        user.phone_number.clone().unwrap_or_default(),
        status(user),
    ]
}

/// Every user, page by page.
async fn all(users: &Users) -> Result<Vec<User>, ExitCode> {
    let mut all = Vec::new();
    loop {
        let offset = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let page = users.mosaic.users(offset, PAGE).await.map_err(|error| failed(&error))?;
        all.extend(page.users);
        if !page.has_next {
            return Ok(all);
        }
    }
}
