//! The OpenAPI document of the API, made from the code that answers and served by it.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::security::{
    ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApi};

use super::{Inner, oauth};

/// Where the document is.
const PATH: &str = "/cis/openapi.json";

const DESCRIPTION: &str = "Mosaic's backend API as linkgate's built-in issuer speaks it: tokens for clients, magic \
    links, one-time codes, sessions, users and groups. The document itself is at `/cis/openapi.json`.";

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
        ("oauth", "Tokens for clients, and what tokens are worth"),
        ("links", "Magic links"),
        ("codes", "One-time codes"),
        ("sessions", "Sessions and tokens"),
        ("users", "Users"),
        ("groups", "Groups"),
    ];
    let tag = |(name, description)| TagBuilder::new().name(name).description(Some(description)).build();
    document.tags = Some(tags.into_iter().map(tag).collect());
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = |whose| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        SecurityScheme::Http(scheme.description(Some(whose)).build())
    };
    components.add_security_scheme("bearer", bearer("A client access token."));
    components.add_security_scheme("user", bearer("A user's access token."));
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic);
    let basic = basic.description(Some(
        "A client's ID and secret, both form-encoded. Its secret or an assertion in the form, or its certificate, is as \
         good where the client is set to it.",
    ));
    components.add_security_scheme("client", SecurityScheme::Http(basic.build()));
    let flow = Flow::ClientCredentials(ClientCredentials::new("/oidc/token", Scopes::new()));
    components.add_security_scheme("client_credentials", SecurityScheme::OAuth2(OAuth2::new([flow])));
    let either = ["bearer", "client_credentials"].map(|name| SecurityRequirement::new(name, [] as [&str; 0]));
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.security.get_or_insert_with(|| either.to_vec());
        }
    }
    oauth::name_short_paths(&mut document);
    document
}
