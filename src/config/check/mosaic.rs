//! The checks of `[mosaic]`.

use std::path::Path;

use url::Url;

use super::Check;
use crate::mosaic::Config;
use crate::origin::Origin;
use crate::setting::{BadSecret, SecretSource};

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
        if self.lacks("mosaic.client_id") {
            self.refuse("mosaic.client_id", "is missing", "copy it from the application in the Mosaic portal");
        }
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
        self.secret(&source);
    }

    fn secret(&mut self, source: &SecretSource) {
        const SHORTEST: usize = 32;
        let key = match source {
            SecretSource::File(_) => "mosaic.client_secret_file",
            SecretSource::Environment(_) => "mosaic.client_secret_env",
        };
        match source.read() {
            // Without the name: it may be the secret itself, pasted into the wrong setting.
            Err(BadSecret::File { source, .. }) => self.refuse(key, format!("the file cannot be read: {source}"), ""),
            Err(BadSecret::Environment { .. }) => self.refuse(key, "there is no such environment variable", ""),
            Err(BadSecret::Empty) => self.refuse(key, "the secret is empty", ""),
            Ok(secret) if secret.expose().len() < SHORTEST => {
                let message = format!("the secret is shorter than {SHORTEST} characters");
                self.warn(key, message, "compare it with the one in the Mosaic portal: it may have been cut");
            }
            Ok(_) => {}
        }
        if let SecretSource::File(path) = source
            && is_open_to_others(path)
        {
            self.warn(key, "other users of this machine can read or change the secret", "chmod 600 the file");
        }
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
