//! The users of the tenant: finding, making, listing and removing them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::call::{Answer, Repeat};
use super::error::{Error, Refusal};
use super::{Mosaic, below};
use crate::identity::{EmailAddress, Identifier, Subject};

/// A user record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's lasting name.
    pub subject: Subject,
    /// Whether the user may sign in.
    pub status: UserStatus,
    /// The primary address, where there is one that linkgate takes.
    pub email: Option<EmailAddress>,
    /// Whether the user has shown to receive mail there.
    pub email_verified: bool,
    /// The name to show.
    pub name: Option<String>,
    /// The user name, where the tenant has them.
    pub username: Option<String>,
    /// The primary phone number.
    pub phone_number: Option<String>,
    /// The whole record as Mosaic gave it, for whoever administers users.
    pub record: Map<String, Value>,
}

impl User {
    /// Somebody of whom no record was read.
    pub(super) fn unknown(subject: Subject) -> Self {
        Self {
            subject,
            status: UserStatus::Other,
            email: None,
            email_verified: false,
            name: None,
            username: None,
            phone_number: None,
            record: Map::new(),
        }
    }
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum UserStatus {
    /// Has signed in before.
    Active,
    /// Has not signed in yet.
    Pending,
    /// Suspended by an administrator.
    Disabled,
    /// Something newer than this client.
    #[serde(other)]
    Other,
}

/// A user to be made; Mosaic needs an address or a phone number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewUser {
    /// The primary address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// The primary phone number (E.164).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// The user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<NewName>,
    /// The user's name in another system, unique in the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_user_id: Option<String>,
    /// The preferred language (BCP 47).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Data of the operator's own, for all applications.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub custom_data: Map<String, Value>,
    /// Data of the operator's own, for this application.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub custom_app_data: Map<String, Value>,
    /// Names of groups: an extension of the built-in issuer, which Mosaic does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Names of roles: an extension of the built-in issuer, which Mosaic does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// The name of a user to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewName {
    /// The given name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The family name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

impl NewName {
    /// The most characters that Mosaic's user schema has for each part.
    pub const LONGEST_PART: usize = 30;

    /// Whether Mosaic takes it.
    pub fn fits(&self) -> bool {
        let parts = [&self.first_name, &self.last_name].into_iter().flatten();
        parts.map(|part| part.chars().count()).all(|length| length <= Self::LONGEST_PART)
    }
}

/// A part of the list of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users, in the order of their making.
    pub users: Vec<User>,
    /// Whether there are more behind them.
    pub has_next: bool,
    /// How many there are in all, where Mosaic says so.
    pub total: Option<u64>,
}

#[derive(Deserialize)]
struct Wrapped {
    result: Map<String, Value>,
}

#[derive(Deserialize)]
struct WirePage {
    result: Vec<Map<String, Value>>,
    #[serde(default)]
    page_info: Option<WirePageInfo>,
    #[serde(default)]
    total_count: Option<u64>,
}

#[derive(Deserialize)]
struct WirePageInfo {
    #[serde(default)]
    has_next_page: bool,
}

#[derive(Deserialize)]
struct WireUser {
    user_id: Subject,
    status: UserStatus,
    #[serde(default)]
    email: Option<WireEmail>,
    #[serde(default)]
    name: Option<WireName>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    phone_number: Option<WirePhone>,
}

#[derive(Deserialize)]
struct WirePhone {
    value: String,
}

#[derive(Deserialize)]
struct WireEmail {
    value: String,
    #[serde(default)]
    email_verified: Option<bool>,
}

#[derive(Deserialize)]
struct WireName {
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
}

impl User {
    /// Reads a record; `None` when it is none.
    fn read(record: Map<String, Value>) -> Option<Self> {
        let user = WireUser::deserialize(Value::Object(record.clone())).ok()?;
        let verified = user.email.as_ref().and_then(|email| email.email_verified) == Some(true);
        let email = user.email.and_then(|email| EmailAddress::parse(&email.value).ok());
        let names = user.name.map(|name| [name.first_name, name.last_name]).unwrap_or_default();
        let names = names.iter().flatten().map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = names.collect::<Vec<_>>().join(" ");
        Some(Self {
            subject: user.user_id,
            status: user.status,
            email_verified: verified && email.is_some(),
            email,
            name: (!name.is_empty()).then_some(name),
            username: user.username.filter(|name| !name.is_empty()),
            phone_number: user.phone_number.map(|phone| phone.value).filter(|number| !number.is_empty()),
            record,
        })
    }

    fn of(answer: &Answer) -> Result<Self, Error> {
        let record = answer.json::<Wrapped>()?.result;
        Self::read(record).ok_or_else(|| answer.unexpected("the record is not a user's"))
    }
}

impl Mosaic {
    /// Makes a user of the application, or adds one of the tenant to it. `false` when the user was there already.
    ///
    /// # Errors
    /// When Mosaic did not make one.
    pub async fn create_user(&self, user: &NewUser) -> Result<bool, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "users"]);
        let answer = self.call("create_user", Repeat::Never, |http| http.post(&url).json(user)).await?;
        let was_there = answer.status == 409;
        // Mosaic does not say with which success it adds a user of the tenant to the application.
        answer.with_status(&[200, 201, 409]).map(|_| !was_there).map_err(Refusal::into_error)
    }

    /// The record of a user.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], also when the user belongs to other applications only.
    pub async fn user(&self, subject: &Subject) -> Result<User, Error> {
        // `.` and `..` cannot be percent-encoded: any URL parser takes them for steps in the path.
        if matches!(subject.as_str(), "." | "..") {
            return Err(Error::UserNotFound);
        }
        let answer = self.read_user("user", &self.users_url(&[], subject.as_str())).await?;
        let user = User::of(&answer)?;
        if user.subject == *subject { Ok(user) } else { Err(answer.unexpected("the record is another user's")) }
    }

    /// The record of the user whom an identifier names, if there is one.
    ///
    /// # Errors
    /// When Mosaic does not say.
    pub async fn find_user(&self, identifier: &Identifier) -> Result<Option<User>, Error> {
        let value = identifier.value();
        let (call, url) = match identifier.kind() {
            "user_id" => match Subject::try_from(value.to_owned()) {
                Ok(subject) => return found(self.user(&subject).await),
                Err(_) => return Ok(None),
            },
            "email" => ("user_by_email", self.users_url(&["email"], value)),
            "phone_number" => ("user_by_phone_number", self.users_url(&["phone-number"], value)),
            "username" => ("user_by_username", self.users_url(&["username"], value)),
            custom => {
                let mut url = below(&self.connection().base_url, &["cis", "v1", "users", "identifier"]);
                url.query_pairs_mut().append_pair("identifier_name", custom).append_pair("identifier_value", value);
                ("user_by_identifier", url)
            }
        };
        found(self.read_user(call, &url).await.and_then(|answer| User::of(&answer)))
    }

    /// The users of the application from number `offset` on, at most `limit`.
    ///
    /// # Errors
    /// When Mosaic does not say.
    pub async fn users(&self, offset: u64, limit: u32) -> Result<UserPage, Error> {
        let mut url = below(&self.connection().base_url, &["cis", "v1", "users"]);
        let (from, most) = (offset.to_string(), limit.to_string());
        url.query_pairs_mut().append_pair("page_offset", &from).append_pair("page_limit", &most);
        let answer = self.call_for_list("users", &url).await?;
        let page: WirePage = answer.json()?;
        let users = page.result.into_iter().map(User::read).collect::<Option<Vec<_>>>();
        let users = users.ok_or_else(|| answer.unexpected("a record is not a user's"))?;
        let has_next = page.page_info.is_some_and(|info| info.has_next_page) && !users.is_empty();
        Ok(UserPage { users, has_next, total: page.total_count })
    }

    /// Takes a user out of the application: they can sign in no more, and their record at other applications stays.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or when Mosaic did not.
    pub async fn remove_user(&self, subject: &Subject) -> Result<(), Error> {
        let url = below(&self.users_url(&[], subject.as_str()), &["apps"]);
        let answer = self.call("remove_user", Repeat::Never, |http| http.delete(&url)).await?;
        answer
            .with_status(&[200, 204])
            .map(|_| ())
            .map_err(|refusal| if refusal.is_not_found() { Error::UserNotFound } else { refusal.into_error() })
    }

    fn users_url(&self, by: &[&str], name: &str) -> Url {
        named(below(&below(&self.connection().base_url, &["cis", "v1", "users"]), by), name)
    }

    async fn call_for_list(&self, call: &'static str, url: &Url) -> Result<Answer, Error> {
        let answer = self.call_up_to(LIST_LIMIT, call, Repeat::Once, |http| http.get(url)).await?;
        answer.with_status(&[200]).map_err(Refusal::into_error)
    }

    async fn read_user(&self, call: &'static str, url: &Url) -> Result<Answer, Error> {
        let answer = self.call_up_to(RECORD_LIMIT, call, Repeat::Once, |http| http.get(url)).await?;
        answer
            .with_status(&[200])
            .map_err(|refusal| if refusal.is_not_found() { Error::UserNotFound } else { refusal.into_error() })
    }
}

fn found(user: Result<User, Error>) -> Result<Option<User>, Error> {
    match user {
        Ok(user) => Ok(Some(user)),
        Err(Error::UserNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes of one record: two kinds of custom data may be 500 KB each.
const RECORD_LIMIT: usize = 2 * 1024 * 1024;
/// Bytes of a part of the list.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// `url` with one more segment in which nothing but letters, digits and `-_.*` stands for itself.
fn named(mut url: Url, name: &str) -> Url {
    let segment: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("{}/{segment}", url.path());
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_of_the_path() {
        let check = |name: &str, expected: &str| {
            let url = named(Url::parse("https://h.test/cis/v1/users").unwrap(), name);
            assert_eq!(url.as_str(), format!("https://h.test/cis/v1/users/{expected}"));
        };
        check("ada+x@example.com", "ada%2Bx%40example.com");
        check("a/../b", "a%2F..%2Fb");
        check("a?b#c%2F", "a%3Fb%23c%252F");
        check("a\\b", "a%5Cb");
    }

    #[test]
    fn records_are_read_with_what_they_have() {
        let read = |json: &str| User::read(serde_json::from_str(json).unwrap());
        let text = r#"{"user_id":"u1","status":"Active","email":{"value":"Ada@Example.com","email_verified":true},
            "name":{"first_name":"Ada","last_name":"Lovelace"},"username":"ada","created_at":1,
            "phone_number":{"value":"+12025550123"}}"#;
        let expected = User {
            status: UserStatus::Active,
            email: EmailAddress::parse("ada@example.com").ok(),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            username: Some("ada".to_owned()),
            phone_number: Some("+12025550123".to_owned()),
            record: serde_json::from_str(text).unwrap(),
            ..User::unknown(Subject::try_from("u1".to_owned()).unwrap())
        };
        assert_eq!(read(text).unwrap(), expected);
        let text = r#"{"user_id":"u1","status":"Frozen","email":null,"name":{"first_name":" "},"username":""}"#;
        let record = serde_json::from_str(text).unwrap();
        assert_eq!(read(text).unwrap(), User { record, ..User::unknown(expected.subject) });
        let odd = read(r#"{"user_id":"u1","status":"Active","email":{"value":"no address","email_verified":true}}"#);
        assert!(!odd.unwrap().email_verified);
        for wrong in [r#"{"status":"Active"}"#, r#"{"user_id":"","status":"Active"}"#, r#"{"user_id":"u1"}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_new_user_says_what_is_known_and_nothing_else() {
        let email = EmailAddress::parse("ada@example.com").ok();
        let said = |user: &NewUser| serde_json::to_string(user).unwrap();
        assert_eq!(said(&NewUser { email, ..NewUser::default() }), r#"{"email":"ada@example.com"}"#);
    }
}
