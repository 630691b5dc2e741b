"""Apache with mod_auth_openidc: sessions in its shared memory, or in the browser's cookie.

One process serves, with the event module, as all peers have one thread or its like. The sign-in goes through the small
OpenID provider of this benchmark; after it, Apache asks nobody.
"""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

from openid_provider import Provider
from redirects import sign_in

MODULES = Path("/usr/lib/apache2/modules")

# OIDC_CLAIM_email is what the application learns; REMOTE_USER stays inside Apache.
IDENTITY = "OIDC_CLAIM_email"

USER = "User www-data\nGroup www-data"

NAMES = {"server-cache": "mod_auth_openidc, shm cache", "client-cookie": "mod_auth_openidc, cookie"}

CONFIGURATION = """\
ServerName 127.0.0.1
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel warn
Listen 127.0.0.1:{port}
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule auth_openidc_module {modules}/mod_auth_openidc.so

# One process that stays, with a thread for each of the connections that are under load.
ServerLimit 1
StartServers 1
ThreadLimit 128
ThreadsPerChild 128
MinSpareThreads 1
MaxSpareThreads 128
MaxRequestWorkers 128
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60

ProxyPass / http://{upstream}/ keepalive=On
ProxyPreserveHost On

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID bench
OIDCClientSecret 9f3c1f0e5b7a4d2c8e6b
OIDCRedirectURI http://127.0.0.1:{port}/signed-in
OIDCCryptoPassphrase 4e1d9a7c2b5f8e3d6a0c
OIDCScope "openid email"
OIDCRemoteUserClaim email
OIDCCacheType shm
OIDCSessionType {session}
# A run takes longer than the five minutes that a session may be idle otherwise; its cookie is always the first one.
OIDCSessionInactivityTimeout 28800
OIDCSessionMaxDuration 28800

<Location />
  AuthType openid-connect
  Require valid-user
</Location>
"""


class Apache:
    """One of the two ways to keep a session: "server-cache" or "client-cookie"."""

    authenticates = True
    modes = frozenset({"keep-alive", "new-connections", "rate", "large"})
    # Commands or files that must be there, each with the Debian package that has it.
    packages = {
        "apache2": "apache2-bin",
        str(MODULES / "mod_auth_openidc.so"): "libapache2-mod-auth-openidc",
        "openssl": "openssl",
    }
    identity = IDENTITY

    def __init__(self, session):
        self.name = NAMES[session]
        self._session = session
        self._stack = ExitStack()

    def start(self, directory, port, upstream):
        """Serves before `upstream` (`HOST:PORT`) and has somebody signed in. Gives the process whose family counts."""
        provider = self._stack.enter_context(Provider())
        # Workers are another user's where root has started them; they read nothing, but pass through.
        os.chmod(directory, 0o755)
        configuration = Path(directory, "apache.conf")
        configuration.write_text(
            CONFIGURATION.format(
                folder=directory,
                modules=MODULES,
                user=USER if os.geteuid() == 0 else "",
                port=port,
                upstream=upstream,
                issuer=provider.issuer,
                session=self._session,
            )
        )
        process = subprocess.Popen(["apache2", "-f", configuration, "-DFOREGROUND"])
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        self._cookies = sign_in(f"http://127.0.0.1:{port}/")
        return [process]

    def credential(self):
        return {"Cookie": self._cookies}

    def stop(self):
        self._stack.close()
