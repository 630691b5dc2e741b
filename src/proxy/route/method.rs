//! A method that a route can be for.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::proxy::canonical;

/// A method that is passed on at all, in capital letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteMethod(pub Method);

impl TryFrom<String> for RouteMethod {
    type Error = BadMethod;

    fn try_from(text: String) -> Result<Self, BadMethod> {
        let method = Method::from_bytes(text.as_bytes()).map_err(|_| BadMethod)?;
        canonical::check_method(&method).map_err(|_| BadMethod)?;
        Ok(Self(method))
    }
}

impl From<RouteMethod> for String {
    fn from(method: RouteMethod) -> Self {
        method.0.to_string()
    }
}

/// Not a method, or one that is never passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a method in capital letters, like \"GET\"")]
pub struct BadMethod;
