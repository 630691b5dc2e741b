//! The file as users to be made, each row with its line or with what is wrong with it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::users::name_in_parts;
use super::columns::{self, BadHeader, Column};
use crate::identity::{EmailAddress, IdentifierKind};
use crate::mosaic::{NewName, NewUser};
use crate::secret::{base64url, sha256};

/// What a file starts with that some programs write (U+FEFF).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A file that was looked through.
pub(super) struct Sheet {
    /// Its rows, in their order.
    pub(super) rows: Vec<Row>,
    /// A column that only the built-in issuer knows.
    pub(super) issuer_only: Option<&'static str>,
    /// What tells the file from every other.
    pub(super) content: String,
}

/// A row of the file.
pub(super) struct Row {
    /// The line on which it begins.
    pub(super) line: u64,
    /// The user, or why it is none.
    pub(super) user: Result<NewUser, String>,
}

impl Sheet {
    /// Reads a file's content.
    ///
    /// # Errors
    /// When its first line does not name columns.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BadHeader> {
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
        // A reader of bytes in memory has nothing to fail with but a text that is not UTF-8, and bytes need not be.
        let header = reader.byte_headers().map_err(|_| BadHeader::NotUtf8)?;
        let columns = columns::columns(header)?;
        let (mut seen, mut lines) = (HashMap::new(), Lines { text, at: 0, line: 1 });
        let rows = reader.into_byte_records().map(|record| match record {
            Ok(record) => {
                let line = lines.of(record.position());
                Row { line, user: user(&columns, &record).and_then(|user| once(user, line, &mut seen)) }
            }
            Err(error) => Row { line: lines.of(error.position()), user: Err(error.to_string()) },
        });
        Ok(Self { rows: rows.collect(), issuer_only: issuer_only(&columns), content: base64url(&sha256(bytes)) })
    }
}

/// Counts lines as an editor does; the reader is not yet past a line break of two characters, or past empty lines.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line on which the record after `position` begins. Positions come in their order.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let after = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.at);
        while let Some(byte) = self.text.get(self.at).filter(|byte| self.at < after || matches!(byte, b'\r' | b'\n')) {
            let is_half = *byte == b'\r' && self.text.get(self.at + 1) == Some(&b'\n');
            self.line += u64::from(matches!(byte, b'\r' | b'\n') && !is_half);
            self.at += 1;
        }
        self.line
    }
}

fn issuer_only(columns: &[Column]) -> Option<&'static str> {
    columns.iter().find_map(|column| match column {
        Column::Groups => Some("groups"),
        Column::Roles => Some("roles"),
        _ => None,
    })
}

/// Of two rows with one address, nobody could tell which one is meant.
fn once(user: NewUser, line: u64, seen: &mut HashMap<String, u64>) -> Result<NewUser, String> {
    let address = user.email.as_ref().map(ToString::to_string);
    let names = [("email", address), ("phone_number", user.phone_number.clone())];
    for (column, value) in names.into_iter().filter_map(|(column, value)| Some((column, value?))) {
        if let Some(first) = seen.insert(value, line) {
            return Err(format!("{column}: is that of line {first} already"));
        }
    }
    Ok(user)
}

fn user(columns: &[Column], record: &csv::ByteRecord) -> Result<NewUser, String> {
    if record.len() != columns.len() {
        return Err(format!("has {} fields, and the first line names {} columns", record.len(), columns.len()));
    }
    let mut user = NewUser::default();
    let (mut whole, mut parts) = (None, NewName::default());
    for (column, field) in columns.iter().zip(record) {
        let field = str::from_utf8(field).map_err(|_| "is not UTF-8".to_owned())?;
        if field.is_empty() {
            continue;
        }
        let text = || Some(field.to_owned());
        match column {
            Column::Email => {
                user.email = Some(EmailAddress::parse(field).map_err(|error| format!("email: {error}"))?);
            }
            Column::PhoneNumber => {
                let number = IdentifierKind::PhoneNumber.read(field);
                user.phone_number = Some(number.map_err(|error| format!("phone_number: {error}"))?.value().to_owned());
            }
            Column::Name => whole = name_in_parts(field),
            Column::FirstName => parts.first_name = text(),
            Column::LastName => parts.last_name = text(),
            Column::Username => user.username = text(),
            Column::ExternalUserId => user.external_user_id = text(),
            Column::Language => user.language = text(),
            Column::Groups => user.groups = list(field),
            Column::Roles => user.roles = list(field),
            Column::CustomData(key) => keep(&mut user.custom_data, key, field),
            Column::CustomAppData(key) => keep(&mut user.custom_app_data, key, field),
        }
    }
    user.name = match (whole, parts == NewName::default()) {
        (Some(_), false) => return Err("name: stands beside first_name or last_name".to_owned()),
        (whole, true) => whole,
        (None, false) => Some(parts),
    };
    if user.name.as_ref().is_some_and(|name| !name.fits()) {
        return Err(format!("name: first and last name have at most {} characters each", NewName::LONGEST_PART));
    }
    if user.email.is_none() && user.phone_number.is_none() {
        return Err("has neither an email nor a phone_number".to_owned());
    }
    Ok(user)
}

fn list(field: &str) -> Vec<String> {
    field.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn keep(data: &mut Map<String, Value>, key: &str, field: &str) {
    data.insert(key.to_owned(), Value::from(field));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rows(text: &str) -> Vec<(u64, Result<Value, String>)> {
        let sheet = Sheet::read(text.as_bytes()).map_err(|error| error.to_string()).unwrap();
        sheet.rows.into_iter().map(|row| (row.line, row.user.map(|user| json!(user)))).collect()
    }

    #[test]
    fn rows_are_users_with_their_lines() {
        let text = "\u{feff}email,name,phone_number,groups,custom_data.team\r\n\
                    Ada@Example.com,\"Lovelace, Ada\",+1 202 555 0123,staff; on call ;,\"a\r\nb\"\r\n\
                    \r\n\
                    bob@example.com,,,,\r\n";
        let ada = json!({
            "email": "ada@example.com", "name": { "first_name": "Lovelace,", "last_name": "Ada" },
            "phone_number": "+12025550123", "groups": ["staff", "on call"], "custom_data": { "team": "a\r\nb" },
        });
        assert_eq!(rows(text), [(2, Ok(ada)), (5, Ok(json!({ "email": "bob@example.com" })))]);
    }

    #[test]
    fn what_is_wrong_is_said_of_its_line() {
        let text = "email,phone_number,name,last_name\n\
                    ada,,,\n\
                    ,202 555 0123,,\n\
                    ,,Ada,\n\
                    ada@example.com,,Ada,Lovelace\n\
                    ada@example.com,,,\n\
                    Ada@Example.com,,,\n\
                    bob@example.com\n\
                    eve@example.com,,Eveline-Margarethe-Alexandrinaa Smith,\n\
                    mia@example.com,,Mia-Margarethe-Alexandrinaaaaa Smith,\n";
        let expected = [
            (2, "email: a mail address has the form name@example.com"),
            (3, "phone_number: a phone number begins with + and its country, like +12025550123"),
            (4, "has neither an email nor a phone_number"),
            (5, "name: stands beside first_name or last_name"),
            (7, "email: is that of line 6 already"),
            (8, "has 1 fields, and the first line names 4 columns"),
            (9, "name: first and last name have at most 30 characters each"),
        ];
        let found: Vec<(u64, String)> =
            rows(text).into_iter().filter_map(|(line, user)| Some((line, user.err()?))).collect();
        assert_eq!(found, expected.map(|(line, message)| (line, message.to_owned())));
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_row_only() {
        let sheet = Sheet::read(b"email\n\xff@example.com\nada@example.com\n").map_err(|_| ()).unwrap();
        let users: Vec<bool> = sheet.rows.iter().map(|row| row.user.is_ok()).collect();
        assert_eq!(users, [false, true]);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let header = b"email,name,groups\n".to_vec();
            let whole = [header, bytes.clone()].concat();
            prop_assert!(Sheet::read(&whole).is_ok());
            let _ = Sheet::read(&bytes);
        }
    }
}
