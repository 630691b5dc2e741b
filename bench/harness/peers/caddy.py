"""Caddy on one thread, as it forwards for everybody."""

import subprocess

from peer import PATH, PLAIN, Peer

ORDER = 45

CONFIGURATION = """\
{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2
    }}
}}
{scheme}://:{port} {{
    bind 127.0.0.1
    {tls}
    route {{
{routes}
    }}
}}
"""


class Caddy(Peer):
    name = "caddy"
    modes = PLAIN | {"tls-h2", "websocket"}
    packages = (("caddy", "caddy"),)

    def launch(self, setting):
        serve(self, setting, f"        reverse_proxy {setting.upstream}\n")

    def version(self):
        found = subprocess.run(["caddy", "version"], capture_output=True, text=True, env={"PATH": PATH}, check=False).stdout
        return f"caddy {' '.join(found.split()[:1])}"


def serve(peer, setting, routes):
    """Starts Caddy for a peer, with these routes. Without `log` in them it logs no access."""
    configuration = setting.directory / "Caddyfile"
    configuration.write_text(
        CONFIGURATION.format(
            scheme="https" if setting.tls else "http",
            port=setting.port,
            tls=f"tls {setting.tls.certificate} {setting.tls.key}" if setting.tls else "",
            routes=routes,
        )
    )
    environment = {"GOMAXPROCS": "1", "HOME": str(setting.directory), "XDG_DATA_HOME": str(setting.directory)}
    peer.spawn(["caddy", "run", "--config", configuration, "--adapter", "caddyfile"], environment=environment)


def peers(_options):
    return [Caddy()]
