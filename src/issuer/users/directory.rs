//! How a user is found and changed: by ID, and by every value that belongs to one user of the tenant only.
//!
//! A value is claimed by a record of its own that names the user. The user's record is written before the claim
//! and removed before it, so a claim whose user is gone is nobody's. Changes of one user follow one another.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::{User, old};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::issuer::api::Refusal;
use crate::issuer::groups::members_of;
use crate::issuer::phone::PhoneNumber;
use crate::issuer::{Inner, records};
use crate::secret::{fingerprint, random_token};
use crate::store;

/// How long a change of one user may take before the next one no longer waits for it.
const LEASE: Duration = Duration::from_secs(10);
/// How long to wait between two looks at whether the change before is over …
const PAUSE: Duration = Duration::from_millis(5);
/// … and how often to look.
const LOOKS: u32 = 1000;
/// Records that are asked for at once.
const AT_ONCE: usize = 64;

/// The IDs of all users.
const EVERYBODY: &str = "issuer/users";

/// The set of the users of an application.
fn users_of(app_id: &str) -> String {
    format!("issuer/users_of/{app_id}")
}

fn user_key(user_id: &str) -> String {
    format!("issuer/user/{user_id}")
}

fn lease_key(name: &str) -> String {
    format!("issuer/lease/{name}")
}

/// A value that belongs to one user of the tenant at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::issuer) enum Unique {
    Email(EmailAddress),
    Phone(PhoneNumber),
    Username(String),
    ExternalUserId(String),
}

impl Unique {
    fn key(&self) -> String {
        match self {
            Self::Email(address) => format!("issuer/email/{address}"),
            Self::Phone(number) => format!("issuer/phone/{number}"),
            Self::Username(name) => format!("issuer/username/{}", fingerprint(name)),
            Self::ExternalUserId(id) => format!("issuer/external_user/{}", fingerprint(id)),
        }
    }

    /// What Mosaic's own symbol for a second claim would be about.
    pub(in crate::issuer) const fn conflict(&self) -> Refusal {
        match self {
            Self::Email(_) => Refusal::Conflict("User already exists", "user_already_exists"),
            Self::Phone(_) => Refusal::Conflict("Phone number is already in use", "phone_number_already_exists"),
            Self::Username(_) => Refusal::Conflict("Username is already in use", "username_already_exists"),
            Self::ExternalUserId(_) => {
                Refusal::Conflict("External user id is already in use", "external_user_id_already_exists")
            }
        }
    }
}

impl User {
    /// The values that lead to the user.
    fn uniques(&self) -> Vec<Unique> {
        let email = self.email.iter().map(|email| Unique::Email(email.value.clone()));
        let phone = self.phone.iter().map(|phone| Unique::Phone(phone.value.clone()));
        let username = self.username.iter().cloned().map(Unique::Username);
        let external = self.external_user_id.iter().cloned().map(Unique::ExternalUserId);
        email.chain(phone).chain(username).chain(external).collect()
    }

    /// The sets that the user is a member of.
    fn sets(&self) -> BTreeSet<String> {
        let apps = self.apps.keys().map(|app_id| users_of(app_id));
        let groups = self.groups.iter().map(|group| members_of(&group.id));
        apps.chain(groups).chain([EVERYBODY.to_owned()]).collect()
    }
}

impl Inner {
    pub(in crate::issuer) async fn user(&self, user_id: &str) -> Result<Option<User>, store::Error> {
        let key = user_key(user_id);
        let Some(bytes) = self.store.get(&key).await? else { return Ok(None) };
        if let Ok(user) = serde_json::from_slice(&bytes) {
            return Ok(Some(user));
        }
        let old: old::User = serde_json::from_slice(&bytes).map_err(|_| store::Error::Corrupt(key))?;
        self.renewed(old).await.map(Some)
    }

    /// The user whom the value leads to.
    pub(in crate::issuer) async fn find_user(&self, unique: &Unique) -> Result<Option<User>, store::Error> {
        match records::load::<String>(self.store.as_ref(), &unique.key()).await? {
            // A change that was cut short may have left a claim that is no longer true.
            Some(user_id) => Ok(self.user(&user_id).await?.filter(|user| user.uniques().contains(unique))),
            None => Ok(None),
        }
    }

    /// All users of an application, or of the tenant, in no particular order.
    pub(in crate::issuer) async fn all_users(&self, app_id: Option<&str>) -> Result<Vec<User>, store::Error> {
        self.users_in(&app_id.map_or_else(|| EVERYBODY.to_owned(), users_of)).await
    }

    /// The users whom a set names; one who is gone is left out.
    pub(in crate::issuer) async fn users_in(&self, set: &str) -> Result<Vec<User>, store::Error> {
        let mut users = Vec::new();
        for ids in self.store.index_members(set).await?.chunks(AT_ONCE) {
            for user in join_all(ids.iter().map(|id| self.user(id))).await {
                users.extend(user?);
            }
        }
        Ok(users)
    }

    /// Adds the user, unless one of the values is another's.
    pub(in crate::issuer) async fn add_user(&self, user: &User) -> Result<Result<(), Unique>, store::Error> {
        let key = user_key(&user.user_id);
        records::save(self.store.as_ref(), &key, user, Timestamp::NEVER).await?;
        if let Err(taken) = self.claim_all(&user.user_id, user.uniques()).await? {
            self.store.remove(&key).await?;
            return Ok(Err(taken));
        }
        for set in user.sets() {
            self.store.index_add(&set, &user.user_id, Timestamp::NEVER).await?;
        }
        Ok(Ok(()))
    }

    /// Changes the user under a lease, and everything that leads to them; `None` when there is no such user.
    pub(in crate::issuer) async fn change_user(
        &self,
        user_id: &str,
        change: impl FnOnce(&mut User) -> Result<(), Refusal>,
    ) -> Result<Option<User>, Refusal> {
        self.try_change(user_id, change).await?
    }

    /// The same, with a refused change apart from a store that failed.
    pub(super) async fn try_change(
        &self,
        user_id: &str,
        change: impl FnOnce(&mut User) -> Result<(), Refusal>,
    ) -> Result<Result<Option<User>, Refusal>, store::Error> {
        let lease = self.lease(&user_key(user_id)).await?;
        let changed = self.change_leased(user_id, change).await;
        self.end_lease(&user_key(user_id), &lease).await?;
        changed
    }

    async fn change_leased(
        &self,
        user_id: &str,
        change: impl FnOnce(&mut User) -> Result<(), Refusal>,
    ) -> Result<Result<Option<User>, Refusal>, store::Error> {
        let Some(before) = self.user(user_id).await? else { return Ok(Ok(None)) };
        let mut after = before.clone();
        if let Err(refusal) = change(&mut after) {
            return Ok(Err(refusal));
        }
        if after == before {
            return Ok(Ok(Some(after)));
        }
        after.updated_at = self.clock.now();
        let (old, new) = (before.uniques(), after.uniques());
        let fresh: Vec<Unique> = new.iter().filter(|unique| !old.contains(unique)).cloned().collect();
        if let Err(taken) = self.claim_all(user_id, fresh).await? {
            return Ok(Err(taken.conflict()));
        }
        if !records::replace(self.store.as_ref(), &user_key(user_id), &after, Timestamp::NEVER).await? {
            return Ok(Ok(None));
        }
        for unique in old.iter().filter(|unique| !new.contains(unique)) {
            self.store.remove(&unique.key()).await?;
        }
        let (old, new) = (before.sets(), after.sets());
        for set in new.difference(&old) {
            self.store.index_add(set, user_id, Timestamp::NEVER).await?;
        }
        for set in old.difference(&new) {
            self.store.index_remove(set, user_id).await?;
        }
        Ok(Ok(Some(after)))
    }

    /// Removes the user with everything that leads to them; `false` when there is none.
    pub(in crate::issuer) async fn remove_user(&self, user_id: &str) -> Result<bool, Refusal> {
        let lease = self.lease(&user_key(user_id)).await?;
        let removed = self.remove_leased(user_id).await;
        self.end_lease(&user_key(user_id), &lease).await?;
        Ok(removed?)
    }

    async fn remove_leased(&self, user_id: &str) -> Result<bool, store::Error> {
        let Some(user) = self.user(user_id).await? else { return Ok(false) };
        self.store.remove(&user_key(user_id)).await?;
        for unique in user.uniques() {
            self.store.remove(&unique.key()).await?;
        }
        for set in user.sets() {
            self.store.index_remove(&set, user_id).await?;
        }
        Ok(true)
    }

    /// Claims all values for the user, or none of them and says which is another's.
    async fn claim_all(&self, user_id: &str, uniques: Vec<Unique>) -> Result<Result<(), Unique>, store::Error> {
        let mut claimed: Vec<Unique> = Vec::new();
        for unique in uniques {
            if self.claim_unique(user_id, &unique).await? {
                claimed.push(unique);
                continue;
            }
            for done in claimed {
                self.store.remove(&done.key()).await?;
            }
            return Ok(Err(unique));
        }
        Ok(Ok(()))
    }

    async fn claim_unique(&self, user_id: &str, unique: &Unique) -> Result<bool, store::Error> {
        let (key, store) = (unique.key(), self.store.as_ref());
        if records::claim(store, &key, &user_id, Timestamp::NEVER).await? {
            return Ok(true);
        }
        match self.holder(&key).await? {
            Some(holder) => Ok(holder == user_id),
            None => self.claim_anew(user_id, &key).await,
        }
    }

    /// Takes over a claim whose user is gone. One at a time, so that nobody takes a claim that was just made.
    async fn claim_anew(&self, user_id: &str, key: &str) -> Result<bool, store::Error> {
        let lease = self.lease(key).await?;
        let store = self.store.as_ref();
        if self.holder(key).await?.is_none() {
            store.remove(key).await?;
        }
        let claimed = records::claim(store, key, &user_id, Timestamp::NEVER).await;
        self.end_lease(key, &lease).await?;
        claimed
    }

    /// The user, still there, by whom a value is claimed.
    async fn holder(&self, key: &str) -> Result<Option<String>, store::Error> {
        let Some(user_id) = records::load::<String>(self.store.as_ref(), key).await? else { return Ok(None) };
        Ok(self.store.get(&user_key(&user_id)).await?.map(|_| user_id))
    }

    /// Waits until nobody else has the lease of that name; gives the mark by which it is ended.
    async fn lease(&self, name: &str) -> Result<String, store::Error> {
        let (key, mark) = (lease_key(name), random_token().expose().clone());
        for _ in 0..LOOKS {
            let until = self.clock.now().plus(LEASE);
            if records::claim(self.store.as_ref(), &key, &mark, until).await? {
                return Ok(mark);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(store::Error::Unavailable("another change does not end".into()))
    }

    async fn end_lease(&self, name: &str, mark: &str) -> Result<(), store::Error> {
        let key = lease_key(name);
        // Who took too long has lost the lease to the next one.
        if records::load::<String>(self.store.as_ref(), &key).await?.as_deref() == Some(mark) {
            self.store.remove(&key).await?;
        }
        Ok(())
    }

    /// A user whom the version before wrote, in today's form. The record itself stays until it is changed; what did
    /// not lead to it then does so now.
    async fn renewed(&self, old: old::User) -> Result<User, store::Error> {
        let mut groups = Vec::new();
        for name in &old.groups {
            groups.push(self.declared_group(name).await?);
        }
        let user = old.into_user(&self.tenant.default_application.id, groups);
        for unique in user.uniques() {
            records::claim(self.store.as_ref(), &unique.key(), &user.user_id, Timestamp::NEVER).await?;
        }
        for set in user.sets() {
            self.store.index_add(&set, &user.user_id, Timestamp::NEVER).await?;
        }
        Ok(user)
    }
}
