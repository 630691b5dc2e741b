//! Groups: sets of users of the whole tenant, with a name that rules and headers use.
//!
//! Who is a member stands in the user's record; the set of members beside it is only for listing them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::api::Refusal;
use super::tenant::fresh_id;
use super::users::Membership;
use super::{Inner, records};
use crate::clock::Timestamp;
use crate::secret::fingerprint;
use crate::store;

pub(super) mod calls;

/// The IDs of all groups.
const ALL: &str = "issuer/groups";

#[derive(Clone, Serialize, Deserialize)]
struct Group {
    group_id: String,
    name: String,
    description: Option<String>,
    custom_data: Option<Map<String, Value>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Group {
    fn membership(&self) -> Membership {
        Membership { id: self.group_id.clone(), name: self.name.clone() }
    }
}

fn group_key(id: &str) -> String {
    format!("issuer/group/{id}")
}

/// Leads from a name to the group's ID.
fn name_key(name: &str) -> String {
    format!("issuer/group_name/{}", fingerprint(name))
}

/// The set of the members of a group.
pub(super) fn members_of(group_id: &str) -> String {
    format!("issuer/members_of/{group_id}")
}

impl Inner {
    async fn group(&self, id: &str) -> Result<Option<Group>, store::Error> {
        records::load(self.store.as_ref(), &group_key(id)).await
    }

    /// Adds the group unless its name is taken; says whether it was free.
    async fn add_group(&self, group: &Group) -> Result<bool, store::Error> {
        let (key, store) = (group_key(&group.group_id), self.store.as_ref());
        records::save(store, &key, group, Timestamp::NEVER).await?;
        if !records::claim(store, &name_key(&group.name), &group.group_id, Timestamp::NEVER).await? {
            store.remove(&key).await?;
            return Ok(false);
        }
        store.index_add(ALL, &group.group_id, Timestamp::NEVER).await?;
        Ok(true)
    }

    /// The group of that name, made where there is none: those that the configuration names exist.
    pub(super) async fn declared_group(&self, name: &str) -> Result<Membership, store::Error> {
        loop {
            let id = records::load::<String>(self.store.as_ref(), &name_key(name)).await?;
            if let Some(id) = id {
                if let Some(group) = self.group(&id).await? {
                    return Ok(group.membership());
                }
                // Left behind by a removal that was cut short.
                self.store.remove(&name_key(name)).await?;
            }
            let now = self.clock.now();
            let group = Group {
                group_id: fresh_id(),
                name: name.to_owned(),
                description: None,
                custom_data: None,
                created_at: now,
                updated_at: now,
            };
            if self.add_group(&group).await? {
                return Ok(group.membership());
            }
        }
    }

    /// Puts the new name, or with none the absence of the group, into the records of its members.
    async fn tell_members(&self, group_id: &str, name: Option<&str>) -> Result<(), Refusal> {
        for user_id in self.store.index_members(&members_of(group_id)).await? {
            self.change_user(&user_id, |user| {
                match name {
                    Some(name) => {
                        user.groups.iter_mut().filter(|group| group.id == group_id).for_each(|group| {
                            name.clone_into(&mut group.name);
                        });
                    }
                    None => user.groups.retain(|group| group.id != group_id),
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
