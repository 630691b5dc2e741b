//! Tokens and key sets: of everything that looks like the one signed token, only that token holds.

use std::sync::LazyLock;

use linkgate::mosaic::id_token::Unverified;
use linkgate::mosaic::key_set::{Keys, parse};

/// Signed by a key that nobody has any more.
const TOKEN: &str = include_str!("../corpus/id_token/token");

static KEYS: LazyLock<Keys> = LazyLock::new(|| parse(include_bytes!("../corpus/id_token/keys")).expect("a key set"));

/// Panics where that does not hold.
pub fn check(raw: &[u8]) {
    if let Some(keys) = parse(raw) {
        assert!(keys.keys().all(|key_id| !key_id.is_empty() && key_id.len() <= 256));
    }
    let Some(text) = std::str::from_utf8(raw).ok() else { return };
    let Ok(token) = Unverified::parse(text) else { return };
    assert!(text.split('.').count() == 3 && !token.key_id().is_empty());
    let holds = KEYS.values().any(|key| token.is_signed_by(key));
    assert_eq!(holds, text == TOKEN, "{text:?}");
}
