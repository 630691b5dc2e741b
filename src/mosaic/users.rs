//! The users of the tenant, as far as signing in needs them.

use serde::Deserialize;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::call::{Answer, Repeat};
use super::error::{Error, Refusal};
use super::{Mosaic, below};
use crate::identity::{EmailAddress, Subject};

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
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

#[derive(Deserialize)]
struct Wrapped {
    result: WireUser,
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

impl From<WireUser> for User {
    fn from(user: WireUser) -> Self {
        let verified = user.email.as_ref().and_then(|email| email.email_verified) == Some(true);
        let email = user.email.and_then(|email| EmailAddress::parse(&email.value).ok());
        let names = user.name.map(|name| [name.first_name, name.last_name]).unwrap_or_default();
        let names = names.iter().flatten().map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = names.collect::<Vec<_>>().join(" ");
        Self {
            subject: user.user_id,
            status: user.status,
            email_verified: verified && email.is_some(),
            email,
            name: (!name.is_empty()).then_some(name),
            username: user.username.filter(|name| !name.is_empty()),
        }
    }
}

impl Mosaic {
    /// Makes a user of the application. One who is there already is as good.
    ///
    /// # Errors
    /// When Mosaic did not make one.
    pub async fn create_user(&self, address: &EmailAddress) -> Result<(), Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "users"]);
        let body = json!({ "email": address });
        let answer = self.call("create_user", Repeat::Never, |http| http.post(&url).json(&body)).await?;
        // Mosaic does not say with which success it adds a user of the tenant to the application.
        answer.with_status(&[200, 201, 409]).map(|_| ()).map_err(Refusal::into_error)
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
        let users = below(&self.connection().base_url, &["cis", "v1", "users"]);
        let answer = self.read_user("user", &named(users, subject.as_str())).await?;
        let user = User::from(answer.json::<Wrapped>()?.result);
        if user.subject == *subject { Ok(user) } else { Err(answer.unexpected("the record is another user's")) }
    }

    /// The record of the user whose primary address this is, if there is one.
    ///
    /// # Errors
    /// When Mosaic does not say.
    pub async fn user_by_email(&self, address: &EmailAddress) -> Result<Option<User>, Error> {
        let users = below(&self.connection().base_url, &["cis", "v1", "users", "email"]);
        match self.read_user("user_by_email", &named(users, address.as_str())).await {
            Ok(answer) => Ok(Some(answer.json::<Wrapped>()?.result.into())),
            Err(Error::UserNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_user(&self, call: &'static str, url: &Url) -> Result<Answer, Error> {
        let answer = self.call(call, Repeat::Once, |http| http.get(url)).await?;
        answer
            .with_status(&[200])
            .map_err(|refusal| if refusal.is_not_found() { Error::UserNotFound } else { refusal.into_error() })
    }
}

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
        let read = |json: &str| serde_json::from_str::<WireUser>(json).map(User::from);
        let full = read(
            r#"{"user_id":"u1","status":"Active","email":{"value":"Ada@Example.com","email_verified":true},
                "name":{"first_name":"Ada","last_name":"Lovelace"},"username":"ada","created_at":1}"#,
        );
        let expected = User {
            subject: Subject::try_from("u1".to_owned()).unwrap(),
            status: UserStatus::Active,
            email: EmailAddress::parse("ada@example.com").ok(),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            username: Some("ada".to_owned()),
        };
        assert_eq!(full.unwrap(), expected);
        let bare = read(r#"{"user_id":"u1","status":"Frozen","email":null,"name":{"first_name":" "},"username":""}"#);
        let nothing = User {
            status: UserStatus::Other,
            email: None,
            email_verified: false,
            name: None,
            username: None,
            ..expected
        };
        assert_eq!(bare.unwrap(), nothing);
        let odd = read(r#"{"user_id":"u1","status":"Active","email":{"value":"no address","email_verified":true}}"#);
        assert!(!odd.unwrap().email_verified);
        for wrong in [r#"{"status":"Active"}"#, r#"{"user_id":"","status":"Active"}"#, r#"{"user_id":"u1"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
