"""Envoy with one worker: as it forwards for everybody, and as it checks a token on every request. It comes from PyPI."""

import json
import subprocess
import sys

import tokens
from peer import PLAIN, Peer

ORDER = 40

TYPES = "type.googleapis.com/envoy.extensions"


class Envoy(Peer):
    name = "envoy"
    modes = PLAIN | {"tls-h2", "websocket"}
    packages = (("python3", "python3"),)

    def __init__(self, options):
        super().__init__()
        self._options = options

    def launch(self, setting):
        self.serve(setting, [])

    def serve(self, setting, filters):
        configuration = setting.directory / "envoy.json"
        configuration.write_text(json.dumps(_configuration(setting, filters), indent=1))
        program = self._program()
        self.spawn([program, "-c", configuration, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"])

    def _program(self):
        """Envoy in a virtual environment that is made once; its version is that of the repository's example."""
        place = self._options.kept / "envoy"
        requirements = self._options.repository / "examples/envoy/requirements.txt"
        made = place / "made-of.txt"
        if not made.exists() or made.read_text() != requirements.read_text():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            subprocess.run([place / "bin/python", "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
            made.write_text(requirements.read_text())
        found = subprocess.run(
            [place / "bin/python", "-c", "import envoy, pathlib; print(pathlib.Path(envoy.__path__[0]) / '_bin/envoy')"],
            capture_output=True, text=True, check=True,
        )
        return found.stdout.strip()

    def version(self):
        requirement = (self._options.repository / "examples/envoy/requirements.txt").read_text().split()[-1]
        return requirement.replace("==", " ")


class EnvoyJwt(Envoy):
    name = "envoy jwt_authn RS256"
    authenticates = True
    modes = PLAIN
    identity = ("x-forwarded-email", tokens.SUBJECT)

    def launch(self, setting):
        key = tokens.make_key(setting.directory, "RS256")
        self._token = tokens.token("RS256", key)
        provider = {
            "issuer": tokens.ISSUER,
            "audiences": [tokens.AUDIENCE],
            "local_jwks": {"inline_string": json.dumps(tokens.rsa_key_set(key))},
            "claim_to_headers": [{"header_name": "x-forwarded-email", "claim_name": "sub"}],
        }
        checks = {
            "@type": f"{TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
        }
        self.serve(setting, [{"name": "envoy.filters.http.jwt_authn", "typed_config": checks}])

    def credential(self):
        return {"Authorization": f"Bearer {self._token}"}


def _configuration(setting, filters):
    host, port = setting.upstream.rsplit(":", 1)
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*filters, router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "application", "timeout": "0s"}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if setting.tls:
        files = {"certificate_chain": {"filename": str(setting.tls.certificate)}, "private_key": {"filename": str(setting.tls.key)}}
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [files], "alpn_protocols": ["h2", "http/1.1"]},
            },
        }
    return {
        "static_resources": {
            "listeners": [{"name": "visitors", "address": _address("127.0.0.1", setting.port), "filter_chains": [chain]}],
            "clusters": [
                {
                    "name": "application",
                    "type": "STATIC",
                    "circuit_breakers": {"thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]},
                    "load_assignment": {
                        "cluster_name": "application",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, int(port))}}]}],
                    },
                }
            ],
        }
    }


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def peers(options):
    return [Envoy(options), EnvoyJwt(options)]
