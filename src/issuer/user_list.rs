//! The list of users: searched, sorted and in pages.
//!
//! The store keeps no order and searches nothing, so the whole set is read; that is right for the thousands of users
//! that one gateway has, not for millions.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::search::Search;
use super::Inner;
use super::api::{CommonRefusals, Parameters, Refusal, Refused};
use super::client::Caller;
use super::users::{ShownUser, User};

mod search;

/// The largest page (Mosaic's limit), and the page of a call that names none.
const LARGEST_PAGE: usize = 5000;
const USUAL_PAGE: usize = 100;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// `attribute operator "value"`, joined by `and`. Attributes: `email`, `username`, `phone_number`, `name`,
    /// `external_user_id`, `status`, `group`. Operators: `eq`, `ne`, `sw`, `ew`, `co`.
    search: Option<String>,
    /// What the address, the user name or a name begins with; case makes no difference.
    search_prefix: Option<String>,
    /// How many users come before the page.
    #[serde(default)]
    #[param(minimum = 0, default = 0)]
    page_offset: usize,
    #[param(minimum = 1, maximum = 5000, default = 100)]
    page_limit: Option<usize>,
    #[serde(default)]
    #[param(inline)]
    sort_field: SortField,
    #[serde(default)]
    #[param(inline)]
    sort_order: SortOrder,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SortField {
    #[default]
    CreatedAt,
    UpdatedAt,
    LastAuth,
    Email,
    Username,
    Status,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortOrder {
    #[default]
    #[serde(alias = "ASC")]
    Asc,
    #[serde(alias = "DESC")]
    Desc,
}

impl SortField {
    /// The order of two users; one who lacks the field comes first. The ID decides between equals, so that pages
    /// never overlap.
    fn sort(self, users: &mut [User]) {
        let email = |user: &User| user.email.as_ref().map(|email| email.value.clone());
        match self {
            Self::CreatedAt => users.sort_by_cached_key(|user| (user.created_at, user.user_id.clone())),
            Self::UpdatedAt => users.sort_by_cached_key(|user| (user.updated_at, user.user_id.clone())),
            Self::LastAuth => users.sort_by_cached_key(|user| (user.last_auth, user.user_id.clone())),
            Self::Email => users.sort_by_cached_key(|user| (email(user), user.user_id.clone())),
            Self::Username => users.sort_by_cached_key(|user| (user.username.clone(), user.user_id.clone())),
            Self::Status => users.sort_by_cached_key(|user| (format!("{:?}", user.status), user.user_id.clone())),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct UserPage {
    result: Vec<ShownUser>,
    page_info: PageInfo,
    /// Of all pages.
    total_count: usize,
}

#[derive(Serialize, ToSchema)]
struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
}

/// The users of the caller's application; for a management client those of the tenant.
#[utoipa::path(
    get, path = "/cis/v1/users", tag = "users", operation_id = "getUsers",
    params(Listing),
    responses(
        (status = 200, description = "A page of users", body = UserPage),
        (status = 400, description = "A parameter is not what it should be", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn list(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Parameters(listing): Parameters<Listing>,
) -> Result<Json<UserPage>, Refusal> {
    let limit = listing.page_limit.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Refusal::field("page_limit must be a number between 1 and 5000"));
    }
    let search = listing.search.as_deref().map(Search::parse).transpose();
    let search = search.map_err(|problem| Refusal::Fields(vec![problem]))?;
    let prefix = listing.search_prefix.as_deref().map(str::to_lowercase);
    let app_id = (!caller.client.is_management).then_some(caller.client.app_id.as_str());
    let mut users = issuer.all_users(app_id).await?;
    users.retain(|user| {
        search.as_ref().is_none_or(|search| search.matches(user))
            && prefix.as_ref().is_none_or(|prefix| search::begins_with(user, prefix))
    });
    listing.sort_field.sort(&mut users);
    if listing.sort_order == SortOrder::Desc {
        users.reverse();
    }
    let total_count = users.len();
    let page = users.into_iter().skip(listing.page_offset).take(limit);
    let result: Vec<ShownUser> = page.map(|user| user.shown(&caller.client)).collect();
    let end = listing.page_offset.saturating_add(result.len());
    let page_info = PageInfo {
        has_next_page: listing.page_offset < total_count && end < total_count,
        has_previous_page: listing.page_offset > 0 && total_count > 0,
    };
    Ok(Json(UserPage { result, page_info, total_count }))
}
