//! What a caller says about a user, in `create` and `update`: checked once, then laid over the record.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Address, Association, Email, Membership, Name, Phone, Status, User};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::issuer::Inner;
use crate::issuer::phone::PhoneNumber;
use crate::store;

/// The most that `custom_data` and `custom_app_data` may be, in bytes of JSON (Mosaic's limit).
const LARGEST_DATA: usize = 500 * 1024;
/// The longest of the texts that have no other limit, in characters.
const LONGEST_TEXT: usize = 255;
/// The longest URL of a picture, in characters.
const LONGEST_URL: usize = 2048;
/// The longest part of a name, in characters.
const LONGEST_NAME: usize = 30;
/// The most entries that a list may have.
const LONGEST_LIST: usize = 100;

/// A user's details. A member that is absent or null says nothing.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = UserDetails)]
pub(in crate::issuer) struct Details {
    /// The primary address. A user needs this or a phone number.
    #[schema(format = "email", example = "ada@example.com")]
    email: Option<String>,
    /// In E.164 form.
    #[schema(example = "+4930123456")]
    phone_number: Option<String>,
    #[schema(min_length = 1, max_length = 255)]
    username: Option<String>,
    #[schema(max_items = 100)]
    secondary_emails: Option<Vec<String>>,
    #[schema(max_items = 100)]
    secondary_phone_numbers: Option<Vec<String>>,
    /// A date, or a date and time.
    #[schema(example = "1815-12-10")]
    birthday: Option<String>,
    address: Option<Address>,
    name: Option<Name>,
    /// The user's name in another system, for this application.
    #[schema(min_length = 1, max_length = 255)]
    external_account_id: Option<String>,
    /// The user's name in another system; no other user of the tenant has it.
    #[schema(min_length = 1, max_length = 255)]
    external_user_id: Option<String>,
    /// Up to 500 KB, for this application.
    #[schema(value_type = Option<Object>)]
    custom_app_data: Option<Map<String, Value>>,
    /// Up to 500 KB, for all applications.
    #[schema(value_type = Option<Object>)]
    custom_data: Option<Map<String, Value>>,
    #[schema(format = "uri", max_length = 2048, example = "https://example.com/ada.png")]
    picture: Option<String>,
    #[schema(min_length = 1, max_length = 255, example = "de")]
    language: Option<String>,
    /// Not Mosaic's: the names of the user's roles.
    #[schema(max_items = 100)]
    roles: Option<Vec<String>>,
    /// Not Mosaic's: the names of the user's groups. Those that are not there are made.
    #[schema(max_items = 100)]
    groups: Option<Vec<String>>,
    /// Refused: there are no passwords here.
    #[schema(value_type = Option<Object>)]
    credentials: Option<Value>,
    /// Refused: nobody acts for another here.
    #[schema(value_type = Option<Object>)]
    delegated_access: Option<Value>,
}

/// Details and what only an update may say.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserUpdate)]
pub(in crate::issuer) struct Update {
    #[serde(default)]
    pub(super) status: Option<Status>,
    #[serde(flatten)]
    pub(super) details: Details,
}

/// Details in which every value is what it should be.
pub(super) struct Checked {
    pub(super) email: Option<EmailAddress>,
    pub(super) phone: Option<PhoneNumber>,
    secondary_emails: Option<Vec<EmailAddress>>,
    secondary_phones: Option<Vec<PhoneNumber>>,
    groups: Option<Vec<Membership>>,
    rest: Details,
}

/// Notes what is wrong.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn require(&mut self, fine: bool, message: impl FnOnce() -> String) {
        if !fine {
            self.0.push(message());
        }
    }

    fn read<T>(&mut self, value: Option<&String>, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = value?;
        let read = read(value);
        self.require(read.is_some(), || wrong_form(name));
        read
    }

    fn read_all<T>(
        &mut self,
        values: Option<&Vec<String>>,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = values?;
        self.require(values.len() <= LONGEST_LIST, || format!("{name} must contain no more than 100 elements"));
        let read: Option<Vec<T>> = values.iter().map(|value| read(value)).collect();
        self.require(read.is_some(), || format!("each value in {}", wrong_form(name)));
        read
    }

    fn text(&mut self, value: Option<&String>, name: &str, longest: usize) {
        let fine = |text: &String| (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        self.require(value.is_none_or(fine), || format!("{name} must be a text of 1 to {longest} characters"));
    }

    fn data(&mut self, data: Option<&Map<String, Value>>, name: &str) {
        let fine = data.is_none_or(|data| serde_json::to_vec(data).is_ok_and(|bytes| bytes.len() <= LARGEST_DATA));
        self.require(fine, || format!("{name} must not be larger than 500 KB"));
    }
}

fn wrong_form(name: &str) -> String {
    let kind = if name.contains("email") { "an email" } else { "a phone number in E.164 form" };
    format!("{name} must be {kind}")
}

impl Details {
    /// The details with their values read, or all that is wrong with them.
    pub(super) fn check(self) -> Result<Checked, Vec<String>> {
        let mut problems = Problems::default();
        let address = |text: &str| EmailAddress::parse(text).ok();
        let checked = Checked {
            email: problems.read(self.email.as_ref(), "email", address),
            phone: problems.read(self.phone_number.as_ref(), "phone_number", PhoneNumber::parse),
            secondary_emails: problems.read_all(self.secondary_emails.as_ref(), "secondary_emails", address),
            secondary_phones: problems.read_all(
                self.secondary_phone_numbers.as_ref(),
                "secondary_phone_numbers",
                PhoneNumber::parse,
            ),
            groups: None,
            rest: self,
        };
        checked.rest.texts(&mut problems);
        if problems.0.is_empty() { Ok(checked) } else { Err(problems.0) }
    }

    fn texts(&self, problems: &mut Problems) {
        for (value, name) in [
            (&self.username, "username"),
            (&self.external_account_id, "external_account_id"),
            (&self.external_user_id, "external_user_id"),
            (&self.language, "language"),
        ] {
            problems.text(value.as_ref(), name, LONGEST_TEXT);
        }
        if let Some(name) = &self.name {
            for part in [&name.title, &name.first_name, &name.middle_name, &name.last_name] {
                let fine = part.as_ref().is_none_or(|part| part.chars().count() <= LONGEST_NAME);
                problems.require(fine, || "name must have parts of at most 30 characters".to_owned());
            }
        }
        for (names, name) in [(&self.roles, "roles"), (&self.groups, "groups")] {
            for value in names.iter().flatten() {
                problems.text(Some(value), &format!("each value in {name}"), LONGEST_TEXT);
            }
            let fine = names.as_ref().is_none_or(|names| names.len() <= LONGEST_LIST);
            problems.require(fine, || format!("{name} must contain no more than 100 elements"));
        }
        let fine = self.birthday.as_deref().is_none_or(is_date);
        problems.require(fine, || "birthday must be a date".to_owned());
        let is_url = |text: &str| text.len() <= LONGEST_URL && url::Url::parse(text).is_ok();
        problems.require(self.picture.as_deref().is_none_or(is_url), || "picture must be a URL".to_owned());
        problems.data(self.custom_data.as_ref(), "custom_data");
        problems.data(self.custom_app_data.as_ref(), "custom_app_data");
        problems.require(self.credentials.is_none(), || "credentials: passwords are not supported".to_owned());
        problems.require(self.delegated_access.is_none(), || "delegated_access is not supported".to_owned());
    }
}

/// `1815-12-10`, or that and a time of day as RFC 3339 has it.
fn is_date(text: &str) -> bool {
    let is_day = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    is_day || text.parse::<jiff::Timestamp>().is_ok()
}

impl Checked {
    /// The same with the groups behind their names, made where they are not there.
    pub(super) async fn with_groups(mut self, issuer: &Inner) -> Result<Self, store::Error> {
        let Some(names) = &self.rest.groups else { return Ok(self) };
        let mut groups = Vec::new();
        for name in names {
            let group = issuer.declared_group(name).await?;
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        self.groups = Some(groups);
        Ok(self)
    }

    /// Lays the details over the record: texts, lists and objects in place of the old ones, custom data merged.
    pub(super) fn apply(self, user: &mut User, app_id: &str) {
        if let Some(address) = self.email {
            let is_same = user.email.as_ref().is_some_and(|email| email.value == address);
            if !is_same {
                user.email = Some(Email::unproven(address));
            }
        }
        if let Some(number) = self.phone {
            let is_same = user.phone.as_ref().is_some_and(|phone| phone.value == number);
            if !is_same {
                user.phone = Some(Phone::unproven(number));
            }
        }
        // What was shown to be theirs stays so.
        if let Some(addresses) = self.secondary_emails {
            let known = std::mem::take(&mut user.secondary_emails);
            let keep = |address: EmailAddress| {
                let old = known.iter().find(|email| email.value == address);
                old.cloned().unwrap_or_else(|| Email::unproven(address))
            };
            user.secondary_emails = addresses.into_iter().map(keep).collect();
        }
        if let Some(numbers) = self.secondary_phones {
            let known = std::mem::take(&mut user.secondary_phones);
            let keep = |number: PhoneNumber| {
                let old = known.iter().find(|phone| phone.value == number);
                old.cloned().unwrap_or_else(|| Phone::unproven(number))
            };
            user.secondary_phones = numbers.into_iter().map(keep).collect();
        }
        if let Some(groups) = self.groups {
            user.groups = groups;
        }
        self.rest.apply(user, app_id);
    }
}

impl Details {
    fn apply(self, user: &mut User, app_id: &str) {
        set(&mut user.username, self.username);
        set(&mut user.external_user_id, self.external_user_id);
        set(&mut user.person.birthday, self.birthday);
        set(&mut user.person.address, self.address);
        set(&mut user.person.picture, self.picture);
        set(&mut user.person.language, self.language);
        if let Some(name) = self.name {
            user.person.name = name;
        }
        if let Some(roles) = self.roles {
            user.roles = roles;
        }
        merge(&mut user.custom_data, self.custom_data);
        if self.external_account_id.is_some() || self.custom_app_data.is_some() {
            let association: &mut Association = user.apps.entry(app_id.to_owned()).or_default();
            set(&mut association.external_account_id, self.external_account_id);
            merge(&mut association.custom_app_data, self.custom_app_data);
        }
    }
}

fn set<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// New members in place of old ones of the same name; null takes a member away.
fn merge(old: &mut Option<Map<String, Value>>, new: Option<Map<String, Value>>) {
    let Some(new) = new else { return };
    let old = old.get_or_insert_default();
    for (name, value) in new {
        if value.is_null() {
            old.remove(&name);
        } else {
            old.insert(name, value);
        }
    }
}

/// Whether merging has made the data of the user larger than one call may send them.
pub(super) fn is_too_large(user: &User, app_id: &str) -> bool {
    let app_data = user.apps.get(app_id).and_then(|association| association.custom_app_data.as_ref());
    let is_large = |data: Option<&Map<String, Value>>| {
        data.is_some_and(|data| serde_json::to_vec(data).map_or(usize::MAX, |bytes| bytes.len()) > LARGEST_DATA)
    };
    is_large(user.custom_data.as_ref()) || is_large(app_data)
}

/// A new user with these details; `None` where they have neither an address nor a phone number.
pub(super) fn new_user(checked: Checked, app_id: &str, now: Timestamp) -> Option<User> {
    if checked.email.is_none() && checked.phone.is_none() {
        return None;
    }
    let mut user = User::new(app_id, Status::Pending, now);
    checked.apply(&mut user, app_id);
    Some(user)
}
