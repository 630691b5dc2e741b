//! The calls that make, read, change and remove groups and their members.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ALL, Group, group_key, members_of, name_key};
use crate::clock::Timestamp;
use crate::issuer::api::{Body, CommonRefusals, ConflictRefused, Refusal, Refused, Segment, Segments};
use crate::issuer::client::Caller;
use crate::issuer::tenant::fresh_id;
use crate::issuer::users::ShownUser;
use crate::issuer::{Inner, records};

/// The longest name and description, in characters.
const LONGEST_NAME: usize = 255;
const LONGEST_DESCRIPTION: usize = 2000;
/// The most `custom_data`, in bytes of JSON.
const LARGEST_DATA: usize = 500 * 1024;
/// The most users that one call may add.
const MOST_MEMBERS: usize = 1000;

const NO_GROUP: Refusal = Refusal::Numbered(StatusCode::NOT_FOUND, "Group not found");
const TAKEN: Refusal = Refusal::Conflict("Group already exists", "group_already_exists");

/// A group's details. A member that is absent or null says nothing.
#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct GroupDetails {
    /// A group needs one, and no other group has it.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Up to 500 KB.
    #[schema(value_type = Option<Object>)]
    custom_data: Option<Map<String, Value>>,
}

impl GroupDetails {
    fn check(&self) -> Result<(), Refusal> {
        let mut problems = Vec::new();
        let is_text = |text: &String, longest| text.chars().count() <= longest && !text.contains('\0');
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty() || !is_text(name, LONGEST_NAME)) {
            problems.push("name must be a text of 1 to 255 characters".to_owned());
        }
        if self.description.as_ref().is_some_and(|text| !is_text(text, LONGEST_DESCRIPTION)) {
            problems.push("description must be shorter than or equal to 2000 characters".to_owned());
        }
        let size = self.custom_data.as_ref().map_or(0, |data| serde_json::to_vec(data).map_or(0, |bytes| bytes.len()));
        if size > LARGEST_DATA {
            problems.push("custom_data must not be larger than 500 KB".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Fields(problems)) }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
pub(in crate::issuer) struct ShownGroup {
    group_id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    custom_data: Option<Map<String, Value>>,
    /// Milliseconds since 1970.
    created_at: i64,
    /// Milliseconds since 1970.
    updated_at: i64,
}

impl From<Group> for ShownGroup {
    fn from(group: Group) -> Self {
        Self {
            group_id: group.group_id,
            name: group.name,
            description: group.description,
            custom_data: group.custom_data,
            created_at: group.created_at.unix_millis(),
            updated_at: group.updated_at.unix_millis(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct GroupResult {
    result: ShownGroup,
}

#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct GroupList {
    result: Vec<ShownGroup>,
}

/// Makes a group.
#[utoipa::path(
    post, path = "/cis/v1/groups", tag = "groups", operation_id = "createGroup",
    request_body = GroupDetails,
    responses(
        (status = 201, description = "The group", body = GroupResult),
        (status = 400, description = "A detail is not what it should be", body = Refused),
        (status = 409, description = "There is a group of that name", body = ConflictRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn create(
    State(issuer): State<Arc<Inner>>,
    Body(details): Body<GroupDetails>,
) -> Result<(StatusCode, Json<GroupResult>), Refusal> {
    details.check()?;
    let name = details.name.ok_or_else(|| Refusal::field("name should not be empty"))?;
    let now = issuer.clock.now();
    let group = Group {
        group_id: fresh_id(),
        name,
        description: details.description,
        custom_data: details.custom_data,
        created_at: now,
        updated_at: now,
    };
    if !issuer.add_group(&group).await? {
        return Err(TAKEN);
    }
    Ok((StatusCode::CREATED, Json(GroupResult { result: group.into() })))
}

/// All groups of the tenant, by name.
#[utoipa::path(
    get, path = "/cis/v1/groups", tag = "groups", operation_id = "getGroups",
    responses((status = 200, description = "The groups", body = GroupList), CommonRefusals),
)]
pub(in crate::issuer) async fn list(State(issuer): State<Arc<Inner>>) -> Result<Json<GroupList>, Refusal> {
    let mut groups = Vec::new();
    for id in issuer.store.index_members(ALL).await? {
        groups.extend(issuer.group(&id).await?);
    }
    groups.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(Json(GroupList { result: groups.into_iter().map(Into::into).collect() }))
}

/// The group with that ID.
#[utoipa::path(
    get, path = "/cis/v1/groups/{group_id}", tag = "groups", operation_id = "getGroupById",
    params(("group_id" = String, Path)),
    responses(
        (status = 200, description = "The group", body = GroupResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "There is no such group", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn by_id(
    State(issuer): State<Arc<Inner>>,
    Segment(id): Segment,
) -> Result<Json<GroupResult>, Refusal> {
    let group = issuer.group(&id).await?.ok_or(NO_GROUP)?;
    Ok(Json(GroupResult { result: group.into() }))
}

/// Changes what the call names; `custom_data` is replaced whole.
#[utoipa::path(
    put, path = "/cis/v1/groups/{group_id}", tag = "groups", operation_id = "updateGroup",
    params(("group_id" = String, Path)),
    request_body = GroupDetails,
    responses(
        (status = 200, description = "The group as changed", body = GroupResult),
        (status = 400, description = "A detail is not what it should be", body = Refused),
        (status = 404, description = "There is no such group", body = Refused),
        (status = 409, description = "There is a group of that name", body = ConflictRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn update(
    State(issuer): State<Arc<Inner>>,
    Segment(id): Segment,
    Body(details): Body<GroupDetails>,
) -> Result<Json<GroupResult>, Refusal> {
    details.check()?;
    let before = issuer.group(&id).await?.ok_or(NO_GROUP)?;
    let mut group = before.clone();
    group.name = details.name.unwrap_or(group.name);
    group.description = details.description.or(group.description);
    group.custom_data = details.custom_data.or(group.custom_data);
    group.updated_at = issuer.clock.now();
    let store = issuer.store.as_ref();
    let is_renamed = group.name != before.name;
    if is_renamed && !records::claim(store, &name_key(&group.name), &id, Timestamp::NEVER).await? {
        return Err(TAKEN);
    }
    if !records::replace(store, &group_key(&id), &group, Timestamp::NEVER).await? {
        return Err(NO_GROUP);
    }
    if is_renamed {
        store.remove(&name_key(&before.name)).await?;
        issuer.tell_members(&id, Some(&group.name)).await?;
    }
    Ok(Json(GroupResult { result: group.into() }))
}

/// Removes the group; its members stay users.
#[utoipa::path(
    delete, path = "/cis/v1/groups/{group_id}", tag = "groups", operation_id = "deleteGroup",
    params(("group_id" = String, Path)),
    responses(
        (status = 204, description = "The group is gone"),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "There is no such group", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn delete(
    State(issuer): State<Arc<Inner>>,
    Segment(id): Segment,
) -> Result<StatusCode, Refusal> {
    let store = issuer.store.as_ref();
    let group = records::take::<Group>(store, &group_key(&id)).await?.ok_or(NO_GROUP)?;
    store.remove(&name_key(&group.name)).await?;
    store.index_remove(ALL, &id).await?;
    issuer.tell_members(&id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The users to add.
#[derive(Deserialize, ToSchema)]
pub(in crate::issuer) struct NewMembers {
    #[schema(min_items = 1, max_items = 1000)]
    user_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct MemberList {
    result: Vec<ShownUser>,
}

/// Adds users of the caller's application to the group; all of them or, where one is not there, none.
#[utoipa::path(
    post, path = "/cis/v1/groups/{group_id}/members", tag = "groups", operation_id = "addGroupMembers",
    params(("group_id" = String, Path)),
    request_body = NewMembers,
    responses(
        (status = 201, description = "The members, as far as the caller sees them", body = MemberList),
        (status = 400, description = "A field is not what it should be", body = Refused),
        (status = 404, description = "There is no such group or user", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn add_members(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
    Body(new): Body<NewMembers>,
) -> Result<(StatusCode, Json<MemberList>), Refusal> {
    if !(1..=MOST_MEMBERS).contains(&new.user_ids.len()) {
        return Err(Refusal::field("user_ids must contain 1 to 1000 elements"));
    }
    let membership = issuer.group(&id).await?.ok_or(NO_GROUP)?.membership();
    for user_id in &new.user_ids {
        issuer.visible_user(&caller.client, user_id).await?;
    }
    for user_id in &new.user_ids {
        issuer
            .change_user(user_id, |user| {
                if user.groups.iter().all(|group| group.id != id) {
                    user.groups.push(membership.clone());
                }
                Ok(())
            })
            .await?;
    }
    // A removal that came between would leave them in a group that is gone.
    if issuer.group(&id).await?.is_none() {
        issuer.tell_members(&id, None).await?;
        return Err(NO_GROUP);
    }
    Ok((StatusCode::CREATED, issuer.shown_members(&caller, &id).await?))
}

impl Inner {
    async fn shown_members(&self, caller: &Caller, group_id: &str) -> Result<Json<MemberList>, Refusal> {
        let mut users = self.users_in(&members_of(group_id)).await?;
        users.retain(|user| user.is_visible_to(&caller.client));
        users.sort_by(|left, right| left.user_id.cmp(&right.user_id));
        Ok(Json(MemberList { result: users.into_iter().map(|user| user.shown(&caller.client)).collect() }))
    }
}

/// The members of the group, as far as the caller sees them.
#[utoipa::path(
    get, path = "/cis/v1/groups/{group_id}/members", tag = "groups", operation_id = "getGroupMembers",
    params(("group_id" = String, Path)),
    responses(
        (status = 200, description = "The members", body = MemberList),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "There is no such group", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn members(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
) -> Result<Json<MemberList>, Refusal> {
    issuer.group(&id).await?.ok_or(NO_GROUP)?;
    issuer.shown_members(&caller, &id).await
}

/// Takes a user out of the group.
#[utoipa::path(
    delete, path = "/cis/v1/groups/{group_id}/members/{user_id}", tag = "groups", operation_id = "removeGroupMember",
    params(("group_id" = String, Path), ("user_id" = String, Path)),
    responses(
        (status = 204, description = "The user is no member"),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "There is no such group, or no such member", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn remove_member(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segments(id, user_id): Segments,
) -> Result<StatusCode, Refusal> {
    issuer.group(&id).await?.ok_or(NO_GROUP)?;
    issuer.visible_user(&caller.client, &user_id).await?;
    let changed = issuer.change_user(&user_id, |user| {
        let before = user.groups.len();
        user.groups.retain(|group| group.id != id);
        if user.groups.len() < before { Ok(()) } else { Err(Refusal::NO_USER) }
    });
    changed.await?.ok_or(Refusal::NO_USER)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The groups that the user is in.
#[utoipa::path(
    get, path = "/cis/v1/users/{user_id}/groups", tag = "groups", operation_id = "getUserGroups",
    params(("user_id" = String, Path)),
    responses(
        (status = 200, description = "The groups", body = GroupList),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn of_user(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<Json<GroupList>, Refusal> {
    let user = issuer.visible_user(&caller.client, &user_id).await?;
    let mut groups = Vec::new();
    for membership in &user.groups {
        groups.extend(issuer.group(&membership.id).await?.map(ShownGroup::from));
    }
    Ok(Json(GroupList { result: groups }))
}
