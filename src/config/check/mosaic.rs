//! The checks of `[mosaic]`.

use std::path::Path;

use url::Url;

use super::Check;
use crate::identity::IdentifierKind;
use crate::mosaic::{BadConnection, Config, Method, Region};
use crate::origin::Origin;
use crate::setting::{BadSecret, SecretSource};

/// Shorter secrets can be guessed.
const SHORTEST_SECRET: usize = 32;

impl Check<'_> {
    pub(super) fn mosaic(&mut self, mosaic: &Config) {
        match (self.lacks("mosaic.region"), self.lacks("mosaic.base_url")) {
            (true, true) => {
                self.refuse("mosaic.region", "is missing", "set the tenant's region, like `region = \"eu\"`");
            }
            (false, false) => {
                self.refuse(
                    "mosaic.base_url",
                    "stands beside `region`, which names another address",
                    "keep one of the two",
                );
            }
            _ => {}
        }
        let urls = [
            ("mosaic.base_url", &mosaic.base_url),
            ("mosaic.token_url", &mosaic.token_url),
            ("mosaic.key_set_url", &mosaic.key_set_url),
        ];
        for (key, url) in urls {
            if url.as_ref().is_some_and(|url| !is_protected(url)) {
                self.refuse(key, "must begin with https://; plain http:// works on this machine only", "");
            }
        }
        if mosaic.base_url.as_ref().is_some_and(|url| url.path().trim_end_matches('/').ends_with("/cis")) {
            self.refuse("mosaic.base_url", "ends with /cis, which every path of the API begins with", "leave /cis out");
        }
        if mosaic.legacy_email_field && self.settings.sign_in.0.identifier != IdentifierKind::Email {
            self.warn(
                "mosaic.legacy_email_field",
                "changes nothing: visitors are asked for another name",
                "leave it out",
            );
        }
        let implied = mosaic.region.and_then(Region::issuer).is_some();
        let is_placed = mosaic.region.is_some() || mosaic.base_url.is_some();
        if is_placed && !implied && self.lacks("mosaic.issuer") {
            let hint = "set it to the `iss` of the tenant's tokens; `linkgate doctor` names that when yours is another";
            self.refuse("mosaic.issuer", "is missing, and follows only from the regions us, eu, ca and au", hint);
        }
        if self.lacks("mosaic.client_id") {
            self.refuse("mosaic.client_id", "is missing", "copy it from the application in the Mosaic portal");
        }
        self.client_authentication(mosaic);
    }

    /// The method has what it needs, and nothing of another one stands beside it.
    fn client_authentication(&mut self, mosaic: &Config) {
        if self.is_broken("mosaic.client_authentication") {
            return;
        }
        let method = mosaic.client_authentication;
        let settings = [
            ("client_secret_file", mosaic.client_secret_file.is_some()),
            ("client_secret_env", mosaic.client_secret_env.is_some()),
            ("private_key_file", mosaic.private_key_file.is_some()),
            ("private_key_id", mosaic.private_key_id.is_some()),
            ("certificate_file", mosaic.certificate_file.is_some()),
            ("certificate_key_file", mosaic.certificate_key_file.is_some()),
        ];
        for (setting, is_set) in settings {
            if is_set && !method.uses(setting) {
                let message = format!("is not used: `client_authentication` is \"{}\"", method.as_str());
                self.refuse(&format!("mosaic.{setting}"), message, "take it out, or choose the method that uses it");
            }
        }
        match method {
            Method::ClientSecretPost | Method::ClientSecretBasic => self.client_secret(mosaic),
            Method::PrivateKeyJwt => self.keys(mosaic, &["private_key_file"]),
            Method::TlsClientAuth | Method::SelfSignedTlsClientAuth => {
                self.keys(mosaic, &["certificate_file", "certificate_key_file"]);
            }
        }
        let mut resolved = mosaic.clone();
        resolved.resolve(self.directory);
        if let Err(BadConnection::File { setting, source }) = resolved.certificate_authorities() {
            self.refuse(&format!("mosaic.{setting}"), source.to_string(), "");
        }
    }

    /// The files that a method needs: there, usable, and closed to others where they hold a private key.
    fn keys(&mut self, mosaic: &Config, needed: &[&str]) {
        let mut is_complete = true;
        for setting in needed {
            let key = format!("mosaic.{setting}");
            if self.lacks(&key) {
                let hint = format!("\"{}\" needs it: name the PEM file", mosaic.client_authentication.as_str());
                self.refuse(&key, "is missing", &hint);
            }
            is_complete &= !self.lacks(&key) && !self.is_broken(&key);
        }
        if !is_complete {
            return;
        }
        let mut resolved = mosaic.clone();
        resolved.resolve(self.directory);
        if let Err(BadConnection::File { setting, source }) = resolved.client_authentication() {
            self.refuse(&format!("mosaic.{setting}"), source.to_string(), "");
        }
        let private = [
            ("mosaic.private_key_file", &resolved.private_key_file),
            ("mosaic.certificate_key_file", &resolved.certificate_key_file),
        ];
        for (key, file) in private {
            if file.as_deref().is_some_and(is_open_to_others) {
                self.warn(key, "other users of this machine can read or change the private key", "chmod 600 the file");
            }
        }
    }

    fn client_secret(&mut self, mosaic: &Config) {
        let source = match (&mosaic.client_secret_file, &mosaic.client_secret_env) {
            (Some(_), Some(_)) => {
                let message = "stands beside `client_secret_file`, and there is only one secret";
                return self.refuse("mosaic.client_secret_env", message, "keep one of the two");
            }
            (Some(path), None) => SecretSource::File(self.directory.join(path)),
            (None, Some(name)) => SecretSource::Environment(name.clone()),
            (None, None) => {
                if self.lacks("mosaic.client_secret_file") && self.lacks("mosaic.client_secret_env") {
                    let hint =
                        "name the file that holds the secret, or its environment variable in `client_secret_env`";
                    self.refuse("mosaic.client_secret_file", "is missing", hint);
                }
                return;
            }
        };
        if let Some(length) = self.secret("mosaic.client_secret", &source)
            && length < SHORTEST_SECRET
        {
            let key = secret_key("mosaic.client_secret", &source);
            let message = format!("the secret is shorter than {SHORTEST_SECRET} characters");
            self.warn(&key, message, "compare it with the one in the Mosaic portal: it may have been cut");
        }
    }

    /// Checks that there is a secret where the setting `name` with `_file` or `_env` says, and gives its length.
    pub(super) fn secret(&mut self, name: &str, source: &SecretSource) -> Option<usize> {
        let key = &secret_key(name, source);
        let mut length = None;
        match source.read() {
            // Without the name: it may be the secret itself, pasted into the wrong setting.
            Err(BadSecret::File { source, .. }) => self.refuse(key, format!("the file cannot be read: {source}"), ""),
            Err(BadSecret::Environment { .. }) => self.refuse(key, "there is no such environment variable", ""),
            Err(BadSecret::Empty) => self.refuse(key, "the secret is empty", ""),
            Ok(secret) => length = Some(secret.expose().len()),
        }
        if let SecretSource::File(path) = source
            && is_open_to_others(path)
        {
            self.warn(key, "other users of this machine can read or change the secret", "chmod 600 the file");
        }
        length
    }
}

/// The setting that names the place of a secret.
fn secret_key(name: &str, source: &SecretSource) -> String {
    match source {
        SecretSource::File(_) => format!("{name}_file"),
        SecretSource::Environment(_) => format!("{name}_env"),
    }
}

/// Whether what is sent to `url` stays on this machine or goes through TLS: the same rule as for `public_url`.
fn is_protected(url: &Url) -> bool {
    Origin::try_from(url.origin().ascii_serialization()).is_ok()
}

#[cfg(unix)]
pub(super) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // Reading by the group is how a secret is commonly handed to a service.
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o027 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open_to_others(_: &Path) -> bool {
    false
}
