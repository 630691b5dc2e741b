//! What gateway.toml held, and the files that it names, as hashes: enough to tell that something changed, and nothing
//! to tell a secret from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Config;
use crate::secret::sha256;

/// The hashes of a file, and of those that it names, by setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    file: Option<Hash>,
    named: BTreeMap<String, Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    path: PathBuf,
    hash: Option<Hash>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Hash([u8; 32]);

/// A short password could be found again by its hash.
impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Settings that name a file or a folder and do not say so by ending in `_file`.
const NAMES_OF_FILES: [&str; 6] =
    ["logo", "templates", "certificate", "private_key", "client_ca", "client_authorities"];

impl Contents {
    /// Those of a configuration that was read from `text`.
    pub(super) fn of(config: &Config, text: &str) -> Self {
        let mut named = BTreeMap::new();
        find("", &config.values(), &mut named);
        Self { file: Some(Hash(sha256(text.as_bytes()))), named }
    }

    /// The same as they are now, with `file` for gateway.toml.
    #[must_use]
    pub fn again(&self, file: &Path) -> Self {
        // What is no regular file, like a pipe, can be read once.
        let is_other = fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
        let named = self.named.iter().map(|(key, Named { path, .. })| (key.clone(), Named::look(path.clone())));
        Self { file: if is_other { self.file } else { hash_of(file) }, named: named.collect() }
    }

    /// The name of the file's content: the beginning of its SHA-256, in hex.
    pub fn short_hash(&self) -> String {
        let Some(Hash(hash)) = self.file else { return String::new() };
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The settings whose file is the same one in both and holds something else.
    pub(super) fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let is_other = |(key, now): &(&String, &Named)| {
            before.named.get(*key).is_some_and(|then| then.path == now.path && then != *now)
        };
        self.named.iter().filter(is_other).map(|(key, _)| key.as_str())
    }

    /// The same with the files below `setting` as they were `before`.
    #[must_use]
    pub fn with(mut self, setting: &str, before: &Self) -> Self {
        let is_of = |key: &str| super::difference::is_of(key, setting);
        self.named.retain(|key, _| !is_of(key));
        self.named
            .extend(before.named.iter().filter(|(key, _)| is_of(key)).map(|(key, named)| (key.clone(), named.clone())));
        self
    }
}

impl Named {
    fn look(path: PathBuf) -> Self {
        Self { hash: hash_of(&path), path }
    }
}

/// Finds the settings of `values` that name a file.
fn find(key: &str, values: &Value, named: &mut BTreeMap<String, Named>) {
    let join = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match values {
        Value::Object(values) => values.iter().for_each(|(name, value)| find(&join(name), value, named)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| find(&format!("{key}[{at}]"), value, named));
        }
        Value::String(path) if names_a_file(key) => drop(named.insert(key.to_owned(), Named::look(path.into()))),
        _ => {}
    }
}

fn names_a_file(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    let name = name.split('[').next().unwrap_or(name);
    name.ends_with("_file") || NAMES_OF_FILES.contains(&name)
}

/// The hash of what a file holds, or of the files of a folder. Nothing else is read: a pipe would be empty afterwards.
fn hash_of(path: &Path) -> Option<Hash> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_file() {
        return fs::read(path).ok().map(|bytes| Hash(sha256(&bytes)));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let hashes = files.iter().filter(|file| file.is_file()).filter_map(|file| {
        let name = file.file_name()?.as_encoded_bytes();
        Some([sha256(name), sha256(&fs::read(file).ok()?)].concat())
    });
    Some(Hash(sha256(&hashes.collect::<Vec<_>>().concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_name_a_file_are_known_by_their_name() {
        let check = |key: &str, expected: bool| assert_eq!(names_a_file(key), expected, "{key}");
        check("mosaic.client_secret_file", true);
        check("issuer.client[2].public_key_file", true);
        check("theme.logo", true);
        check("issuer.mail.templates", true);
        check("tls.certificate", true);
        check("tls.certificate[1]", true);
        check("route[0].path", false);
        check("issuer.client[0].certificate_subject", false);
    }

    #[test]
    fn every_file_in_the_reference_is_known() {
        let lines = include_str!("../../gateway.toml").lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let looks_like_a_file = |value: &str| {
            [".pem\"", ".key\"", ".svg\"", "\"templates\""].iter().any(|end| value.ends_with(end))
                || value.starts_with("\"/run/secrets/")
        };
        let named: Vec<&str> = lines
            .filter_map(|line| line.split_once(" = "))
            .filter(|(_, value)| looks_like_a_file(value))
            .map(|(key, _)| key)
            .collect();
        assert!(named.len() > 10, "{named:?}");
        let unknown: Vec<_> = named.into_iter().filter(|key| !names_a_file(key)).collect();
        assert_eq!(unknown, [""; 0], "a change of these files would not be seen");
    }

    #[test]
    fn no_hash_is_shown() {
        let contents = Contents { file: Some(Hash([7; 32])), named: BTreeMap::new() };
        assert!(format!("{contents:?}").contains("[redacted]"));
        assert_eq!(contents.short_hash(), "0707070707070707");
    }
}
