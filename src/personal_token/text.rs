//! The text of a personal token: `lgp_`, 256 random bits, and a short MAC so that garbage is refused without asking the
//! store.

use std::sync::OnceLock;

use zeroize::Zeroize;

use crate::clock::Timestamp;
use crate::secret::{self, Seal, Secret};
use crate::store::{self, Shared};

/// What every personal token begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "lgp_";

const MAC_BYTES: usize = 12;
const BYTES: usize = 32 + MAC_BYTES;
const KEY_NAME: &str = "personal_token_key";

/// SHA-256 of a token's random bits: how the store and memory name it. Nobody can use it by that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key as base64url.
    pub fn to_text(self) -> String {
        secret::base64url(&self.0)
    }

    /// The key behind base64url.
    pub fn from_text(text: &str) -> Option<Self> {
        secret::from_base64url(text)?.try_into().ok().map(Self)
    }

    /// The short name that people call the token by, in lists and commands.
    pub fn id(self) -> String {
        self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The random bits of a token. Whoever has them is its user.
pub struct Bits([u8; 32]);

impl Drop for Bits {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Bits {
    pub(super) fn random() -> Self {
        Self(secret::random_bytes())
    }

    /// How the token is named wherever it must not be itself.
    pub fn key(&self) -> Key {
        Key(secret::sha256(&self.0))
    }

    /// The seal of what only the token itself may open.
    pub(super) fn seal(&self) -> Seal {
        Seal::new(&self.0, "personal_token")
    }
}

/// Makes and checks the MAC by a key that all instances share through the store.
pub(super) struct Stamp {
    store: Shared,
    key: OnceLock<[u8; 32]>,
}

impl Stamp {
    pub(super) fn new(store: Shared) -> Self {
        Self { store, key: OnceLock::new() }
    }

    async fn key(&self) -> Result<[u8; 32], store::Error> {
        if let Some(key) = self.key.get() {
            return Ok(*key);
        }
        self.store.put_if_absent(KEY_NAME, &secret::random_bytes::<32>(), Timestamp::NEVER).await?;
        let stored = self.store.get(KEY_NAME).await?.unwrap_or_default();
        let key = stored.try_into().map_err(|_| store::Error::Corrupt(KEY_NAME.to_owned()))?;
        Ok(*self.key.get_or_init(|| key))
    }

    /// The token as its user has it.
    pub(super) async fn write(&self, bits: &Bits) -> Result<Secret<String>, store::Error> {
        let mut bytes = [0; BYTES];
        bytes[..32].copy_from_slice(&bits.0);
        bytes[32..].copy_from_slice(&mac(&self.key().await?, bits));
        Ok(Secret::new(format!("{PREFIX}{}", secret::base64url(&bytes))))
    }

    /// The random bits of a token that was made here; `None` for anything else.
    pub(super) async fn read(&self, text: &str) -> Result<Option<Bits>, store::Error> {
        let Some((bits, claimed)) = split(text) else { return Ok(None) };
        let is_made = secret::same(&mac(&self.key().await?, &bits), &claimed);
        Ok(is_made.then_some(bits))
    }
}

fn split(text: &str) -> Option<(Bits, [u8; MAC_BYTES])> {
    let rest = text.strip_prefix(PREFIX).filter(|rest| rest.len() == BYTES.div_ceil(3) * 4 - 1)?;
    let bytes = Secret::new(secret::from_base64url(rest)?);
    let (bits, mac) = bytes.expose().split_at_checked(32)?;
    Some((Bits(bits.try_into().ok()?), mac.try_into().ok()?))
}

fn mac(key: &[u8; 32], bits: &Bits) -> [u8; MAC_BYTES] {
    let mut short = [0; MAC_BYTES];
    short.copy_from_slice(&secret::mac(key, &bits.0)[..MAC_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::store::memory::Memory;

    #[tokio::test]
    async fn only_tokens_that_were_made_here_are_read() {
        let store = Arc::new(Memory::new(Clock::manual(Timestamp::from_unix_seconds(1_000))));
        let stamp = Stamp::new(store.clone());
        let bits = Bits::random();
        let text = stamp.write(&bits).await.unwrap().expose().clone();
        assert_eq!(stamp.read(&text).await.unwrap().map(|bits| bits.key()), Some(bits.key()));
        // Another instance on the same store.
        assert!(Stamp::new(store).read(&text).await.unwrap().is_some());
        for at in 0..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(stamp.read(&changed).await.unwrap().is_none(), "{changed}");
        }
        for garbage in ["", "lgp_", "lgp_x", &text[4..], &format!("{text}A")] {
            assert!(stamp.read(garbage).await.unwrap().is_none(), "{garbage}");
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = Bits::random().key();
        assert_eq!(Key::from_text(&key.to_text()), Some(key));
        assert_eq!(key.id().len(), 12);
    }
}
