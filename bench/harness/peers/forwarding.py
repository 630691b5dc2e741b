"""What forwards for everybody: the upstream itself, and bare pingora."""

import subprocess

from peer import PLAIN, Peer

ORDER = 10


class Direct(Peer):
    """No proxy at all: the upstream, which runs on the load's core whatever stands before it."""

    name = "upstream"
    modes = PLAIN | {"websocket"}

    def __init__(self, binary):
        super().__init__()
        self._binary = binary

    def launch(self, setting):
        # One of its own, so that its CPU can be told from that of the one behind the proxies.
        self.spawn([self._binary, f"127.0.0.1:{setting.port}"], core=0)


class Bare(Peer):
    """The least that a reverse proxy on pingora can be."""

    modes = PLAIN | {"tls-h2", "websocket"}

    def __init__(self, name, binary, repository):
        super().__init__()
        self.name = name
        self._binary = binary
        self._repository = repository

    def launch(self, setting):
        tls = [setting.tls.certificate, setting.tls.key] if setting.tls else []
        self.spawn([self._binary, f"127.0.0.1:{setting.port}", setting.upstream, *tls])

    def version(self):
        found = subprocess.run(
            ["cargo", "tree", "--offline", "--locked", "--package", "linkgate-bench", "--depth", "1", "--prefix", "none"],
            cwd=self._repository, capture_output=True, text=True, check=False,
        ).stdout.splitlines()
        return next((line for line in found if line.startswith("pingora ")), "")


def peers(options):
    return [
        Direct(options.program("upstream")),
        Bare("bare pingora", options.bare, options.repository),
        Bare("bare pingora with defaults", options.program("bare-defaults"), options.repository),
    ]
