//! The address of a Redis or Valkey server as gateway.toml gives it. It never holds a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use super::super::BadLocation;
use crate::secret::Secret;
use crate::setting::{BadSecret, SecretSource};

/// `redis://[USER@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
///
/// After `?` may follow `prefix=`, which all keys begin with (default `linkgate:`), and `password_file=` or
/// `password_env=`, the place of the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) database: u32,
    pub(super) password: Option<SecretSource>,
    pub(super) prefix: String,
    text: String,
}

impl FromStr for Address {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let url = Url::parse(text).map_err(|_| BadLocation::Redis)?;
        if url.password().is_some() {
            return Err(BadLocation::Password);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BadLocation::Redis)?;
        if url.fragment().is_some() || url.username().contains('%') {
            return Err(BadLocation::Redis);
        }
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| BadLocation::Redis)?,
        };
        let mut address = Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(6379),
            tls: match url.scheme() {
                "redis" => false,
                "rediss" => true,
                _ => return Err(BadLocation::Redis),
            },
            user: Some(url.username().to_owned()).filter(|user| !user.is_empty()),
            database,
            password: None,
            prefix: "linkgate:".to_owned(),
            text: text.to_owned(),
        };
        for (name, value) in url.query_pairs() {
            address.set(&name, value.into_owned())?;
        }
        Ok(address)
    }
}

impl Address {
    /// The password, where one is named; its file is a path below `base_dir` or an absolute one.
    pub(in crate::store) fn read_password(&self, base_dir: &Path) -> Result<Option<Secret<String>>, BadSecret> {
        let source = match &self.password {
            None => return Ok(None),
            Some(SecretSource::File(path)) => SecretSource::File(base_dir.join(path)),
            Some(SecretSource::Environment(name)) => SecretSource::Environment(name.clone()),
        };
        source.read().map(Some)
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), BadLocation> {
        match option {
            _ if value.is_empty() => return Err(BadLocation::Redis),
            "prefix" => self.prefix = value,
            "password_file" if self.password.is_none() => {
                self.password = Some(SecretSource::File(PathBuf::from(value)));
            }
            "password_env" if self.password.is_none() => self.password = Some(SecretSource::Environment(value)),
            _ => return Err(BadLocation::Redis),
        }
        Ok(())
    }
}

/// As it is written in gateway.toml.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_defaults() {
        let address: Address = "redis://cache.example.com".parse().unwrap();
        let plain = Address {
            host: "cache.example.com".to_owned(),
            port: 6379,
            tls: false,
            user: None,
            database: 0,
            password: None,
            prefix: "linkgate:".to_owned(),
            text: "redis://cache.example.com".to_owned(),
        };
        assert_eq!(address, plain);
    }

    #[test]
    fn an_address_says_everything() {
        let text = "rediss://gate@[::1]:6380/3?prefix=wiki:&password_env=REDIS_PASSWORD";
        let full = Address {
            host: "::1".to_owned(),
            port: 6380,
            tls: true,
            user: Some("gate".to_owned()),
            database: 3,
            password: Some(SecretSource::Environment("REDIS_PASSWORD".to_owned())),
            prefix: "wiki:".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(text.parse(), Ok(full));
    }

    #[test]
    fn options_are_known_and_given_once() {
        for query in ["db=1", "prefix=", "password_file=a&password_env=b", "password_file=a&password_file=b"] {
            assert_eq!(format!("redis://host?{query}").parse::<Address>(), Err(BadLocation::Redis), "{query}");
        }
    }
}
