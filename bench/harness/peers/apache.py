"""Apache with mod_auth_openidc: sessions in its shared memory, or in the browser's cookie.

One process serves, with the event module, as all peers have one thread or its like. The sign-in goes through the small
OpenID provider of this benchmark; after it, Apache asks nobody.
"""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

from openid_provider import Provider
from peer import PATH, Peer
from redirects import sign_in

ORDER = 70

MODULES = Path("/usr/lib/apache2/modules")
MODULE = MODULES / "mod_auth_openidc.so"

EMAIL = "ada@example.com"

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
# Otherwise whoever is idle for five minutes, as between two rounds, is signed out.
OIDCSessionInactivityTimeout 28800
OIDCSessionMaxDuration 28800

<Location />
  AuthType openid-connect
  Require valid-user
</Location>
"""


def peers(_options):
    return [Apache("server-cache"), Apache("client-cookie")]


class Apache(Peer):
    """One of the two ways to keep a session: "server-cache" or "client-cookie"."""

    authenticates = True
    packages = (
        ("apache2", "apache2-bin"),
        ("openssl", "openssl"),
        # A module is no command, so one that is not there is asked for by a name that no command has.
        *(() if MODULE.exists() else (("mod_auth_openidc", "libapache2-mod-auth-openidc"),)),
    )
    # After a minute mod_auth_openidc writes a session that is in use again. A browser gets that as its next cookie; one that
    # never changes would have a session encrypted with every answer, which is a third more than it costs.
    renews = True
    # What the application learns by a field; REMOTE_USER stays inside Apache.
    identity = ("OIDC_CLAIM_email", EMAIL)

    def __init__(self, session):
        super().__init__()
        self.name = NAMES[session]
        self._session = session
        self._provider = ExitStack()

    def launch(self, setting):
        provider = self._provider.enter_context(Provider(EMAIL))
        # The workers are another user's where root has started them.
        os.chmod(setting.directory, 0o755)
        configuration = setting.directory / "apache.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=setting.directory,
                modules=MODULES,
                user=USER if os.geteuid() == 0 else "",
                port=setting.port,
                upstream=setting.upstream,
                issuer=provider.issuer,
                session=self._session,
            )
        )
        self.spawn(["apache2", "-f", configuration, "-DFOREGROUND"])

    def credential(self):
        return {"Cookie": sign_in(f"http://127.0.0.1:{self.setting.port}/")}

    def version(self):
        server = subprocess.run(["apache2", "-v"], capture_output=True, text=True, env={"PATH": PATH}, check=False).stdout
        server = server.partition("\n")[0].removeprefix("Server version: ")
        module = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}", "libapache2-mod-auth-openidc"]
        return f"{server} with {subprocess.run(module, capture_output=True, text=True, check=False).stdout}"

    def stop(self):
        super().stop()
        self._provider.close()
