//! The part of SCIM's filters (RFC 7644 section 3.4.2.2) that finds users: comparisons with texts, joined by `and`.

use super::User;

/// Comparisons that all must hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search(Vec<Comparison>);

#[derive(Debug, PartialEq, Eq)]
struct Comparison {
    attribute: Attribute,
    operator: Operator,
    /// In lower case: none of the attributes tells cases apart here (RFC 7643 section 2.2).
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Email,
    Username,
    PhoneNumber,
    Name,
    ExternalUserId,
    Status,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    StartsWith,
    EndsWith,
    Contains,
}

impl Search {
    /// Reads a filter, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut comparisons = Vec::new();
        let mut rest = text.trim();
        loop {
            let (attribute, after) = word(rest);
            let (operator, after) = word(after);
            let comparison = |value| -> Result<Comparison, String> {
                Ok(Comparison { attribute: Attribute::parse(attribute)?, operator: Operator::parse(operator)?, value })
            };
            let (value, after) = quoted(after).ok_or("search: a comparison is like `email eq \"ada@example.com\"`")?;
            comparisons.push(comparison(value.to_lowercase())?);
            if after.is_empty() {
                return Ok(Self(comparisons));
            }
            let (and, after) = word(after);
            if !and.eq_ignore_ascii_case("and") {
                return Err("search: comparisons are joined by `and`".to_owned());
            }
            rest = after;
        }
    }

    pub(super) fn matches(&self, user: &User) -> bool {
        self.0.iter().all(|comparison| comparison.matches(user))
    }
}

impl Attribute {
    fn parse(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "email" | "emails" | "emails.value" => Ok(Self::Email),
            "username" => Ok(Self::Username),
            "phone_number" => Ok(Self::PhoneNumber),
            "name" => Ok(Self::Name),
            "external_user_id" => Ok(Self::ExternalUserId),
            "status" => Ok(Self::Status),
            "group" => Ok(Self::Group),
            _ => Err("search: the attributes are email, username, phone_number, name, external_user_id, status and \
                      group"
                .to_owned()),
        }
    }

    /// What the user has of it.
    fn values(self, user: &User) -> Vec<String> {
        match self {
            Self::Email => user.email.iter().map(|email| email.value.to_string()).collect(),
            Self::Username => user.username.iter().cloned().collect(),
            Self::PhoneNumber => user.phone.iter().map(|phone| phone.value.to_string()).collect(),
            Self::Name => vec![whole_name(user)],
            Self::ExternalUserId => user.external_user_id.iter().cloned().collect(),
            Self::Status => vec![format!("{:?}", user.status)],
            Self::Group => user.group_names().into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Operator {
    fn parse(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "eq" => Ok(Self::Equal),
            "ne" => Ok(Self::NotEqual),
            "sw" => Ok(Self::StartsWith),
            "ew" => Ok(Self::EndsWith),
            "co" => Ok(Self::Contains),
            _ => Err("search: the operators are eq, ne, sw, ew and co".to_owned()),
        }
    }
}

impl Comparison {
    fn matches(&self, user: &User) -> bool {
        let value = self.value.as_str();
        let mut values = self.attribute.values(user).into_iter().map(|found| found.to_lowercase());
        match self.operator {
            Operator::Equal => values.any(|found| found == value),
            Operator::NotEqual => !values.any(|found| found == value),
            Operator::StartsWith => values.any(|found| found.starts_with(value)),
            Operator::EndsWith => values.any(|found| found.ends_with(value)),
            Operator::Contains => values.any(|found| found.contains(value)),
        }
    }
}

/// Whether the address, the user name or one of the names begins with `prefix`, which is in lower case.
pub(super) fn begins_with(user: &User, prefix: &str) -> bool {
    let name = &user.person.name;
    let email = user.email.as_ref().map(|email| email.value.as_str());
    let names = [&user.username, &name.first_name, &name.last_name].into_iter().filter_map(|name| name.as_deref());
    email.into_iter().chain(names).any(|text| text.to_lowercase().starts_with(prefix))
}

fn whole_name(user: &User) -> String {
    let name = &user.person.name;
    let parts = [&name.first_name, &name.middle_name, &name.last_name];
    parts.into_iter().filter_map(|part| part.as_deref()).collect::<Vec<_>>().join(" ")
}

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// A text in quotation marks, in which a backslash lets the next character stand for itself.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, text[place + 2..].trim_start())),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn filters_are_read() {
        let check = |text: &str, expected: &[(Attribute, Operator, &str)]| {
            let expected = expected.iter().map(|(attribute, operator, value)| Comparison {
                attribute: *attribute,
                operator: *operator,
                value: (*value).to_owned(),
            });
            assert_eq!(Search::parse(text), Ok(Search(expected.collect())), "{text}");
        };
        let ada = (Attribute::Email, Operator::Equal, "ada@example.com");
        check("email eq \"Ada@example.com\"", &[ada]);
        check("  EMAIL  EQ  \"ada@example.com\" ", &[ada]);
        check(
            "status ne \"Disabled\" and email eq \"ada@example.com\"",
            &[(Attribute::Status, Operator::NotEqual, "disabled"), ada],
        );
        check(r#"name co "a \"b\" \\ and é""#, &[(Attribute::Name, Operator::Contains, r#"a "b" \ and é"#)]);
        check("username sw \"\"", &[(Attribute::Username, Operator::StartsWith, "")]);
    }

    #[test]
    fn other_filters_are_refused() {
        for wrong in [
            "",
            "email",
            "email eq",
            "email eq ada",
            "email eq \"ada",
            "email eq \"ada\\",
            "email like \"ada\"",
            "age eq \"7\"",
            "email eq \"a\" or email eq \"b\"",
            "email eq \"a\" and",
            "not (email eq \"a\")",
            "email pr",
        ] {
            assert!(Search::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_panics(text in "\\PC{0,20}|(email|x)? ?(eq|sw)? ?\"\\PC{0,8}\"?\\PC{0,4}") {
            drop(Search::parse(&text));
        }
    }
}
