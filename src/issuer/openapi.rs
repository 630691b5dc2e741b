//! The OpenAPI document of the API, made from the code that answers and served by it.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::security::{
    ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApi};

use super::Inner;

/// Where the document is.
const PATH: &str = "/cis/openapi.json";

const DESCRIPTION: &str = "Mosaic's backend API as linkgate's built-in issuer speaks it: magic links, one-time codes, \
    sessions, users and groups. The document itself is at `/cis/openapi.json`.";

/// The paths that need no client access token.
const OPEN: &str = "/cis/oidc/";

pub(super) fn router(document: OpenApi) -> Router<Arc<Inner>> {
    let document = Arc::new(complete(document));
    Router::new().route(PATH, get(move || async move { Json(document) }))
}

/// The collected paths, with what is true of all of them.
fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("linkgate issuer")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    let tags = [
        ("links", "Magic links"),
        ("codes", "One-time codes"),
        ("sessions", "Sessions and tokens"),
        ("users", "Users"),
        ("groups", "Groups"),
    ];
    let tag = |(name, description)| TagBuilder::new().name(name).description(Some(description)).build();
    document.tags = Some(tags.into_iter().map(tag).collect());
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let bearer = bearer.description(Some("A client access token."));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    let flow = Flow::ClientCredentials(ClientCredentials::new("/oidc/token", Scopes::new()));
    components.add_security_scheme("client_credentials", SecurityScheme::OAuth2(OAuth2::new([flow])));
    let either = ["bearer", "client_credentials"].map(|name| SecurityRequirement::new(name, [] as [&str; 0]));
    for (path, item) in &mut document.paths.paths {
        if path.starts_with(OPEN) || path.starts_with("/oidc/") {
            continue;
        }
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(either.to_vec());
        }
    }
    document
}
