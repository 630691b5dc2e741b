"""HAProxy with one thread: as it forwards for everybody, and as it checks a token on every request."""

import subprocess

import tokens
from peer import PATH, PLAIN, Peer

ORDER = 30

CONFIGURATION = """\
global
    nbthread 1
    maxconn 8192
    tune.bufsize 32768
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
frontend visitors
    bind 127.0.0.1:{port} {tls}
    option forwardfor
{rules}
    default_backend application
backend application
    server application {upstream} maxconn 4096
"""

# What its documentation gives for `jwt_verify`, with the subject for the application.
CHECKS = """\
    http-request del-header x-forwarded-email
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m found }}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_header_query('$.alg') -m str {algorithm} }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify("{algorithm}","{key}") -m int 1 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
    http-request set-var(txn.expires) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 if {{ var(txn.expires),sub(txn.now) -m int lt 0 }}
    http-request set-header x-forwarded-email %[var(txn.bearer),jwt_payload_query('$.sub')]
"""


class HaProxy(Peer):
    name = "haproxy"
    modes = PLAIN | {"tls-h2", "websocket"}
    packages = (("haproxy", "haproxy"),)

    def launch(self, setting):
        self.serve(setting, "")

    def serve(self, setting, rules):
        tls = f"ssl crt {setting.tls.both} alpn h2,http/1.1" if setting.tls else ""
        configuration = setting.directory / "haproxy.cfg"
        configuration.write_text(CONFIGURATION.format(port=setting.port, upstream=setting.upstream, tls=tls, rules=rules))
        self.spawn(["haproxy", "-f", configuration, "-db"])

    def version(self):
        found = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, env={"PATH": PATH}, check=False).stdout
        return " ".join(found.split()[:3])


class JwtVerify(HaProxy):
    authenticates = True
    modes = PLAIN
    identity = ("x-forwarded-email", tokens.SUBJECT)

    def __init__(self, algorithm):
        super().__init__()
        self.name = f"haproxy jwt_verify {algorithm}"
        self._algorithm = algorithm
        self._token = None

    def launch(self, setting):
        key = None if self._algorithm == "HS256" else tokens.make_key(setting.directory, self._algorithm)
        self._token = tokens.token(self._algorithm, key)
        self.serve(
            setting,
            CHECKS.format(algorithm=self._algorithm, key=key.public if key else tokens.SECRET, issuer=tokens.ISSUER),
        )

    def credential(self):
        return {"Authorization": f"Bearer {self._token}"}


def peers(_options):
    return [HaProxy(), *(JwtVerify(algorithm) for algorithm in ("HS256", "RS256", "ES256"))]
