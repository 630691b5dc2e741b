"""linkgate with one thread, its sessions in SQLite, and somebody who signed in through its own issuer and mailbox.

It logs accesses by default; rows say so where it does, as no other peer here writes a log.
"""

import html
import http.client
import json
import re
import subprocess
import time
from urllib.parse import urlencode, urlsplit

from answers import connect
from peer import PATIENCE, PLAIN, Peer

ORDER = 50
EMAIL = "ada@example.com"

CONFIGURATION = """\
public_url = "{scheme}://localhost:{port}"
listen = "127.0.0.1:{listen}"
threads = 1
{top}
[admin]
listen = "127.0.0.1:{admin}"
[log]
level = "{level}"
[session]
store = "sqlite:{database}"
[reload]
watch = false
{settings}
"""

# Where `load login-settings` does not say it already.
ISSUER = """\
[issuer]
mailbox = true
[sign_up]
allow = ["*"]
"""

ROUTE = """\
[[route]]
{place}upstream = "{upstream}"
"""


class Linkgate(Peer):
    name = "linkgate"
    authenticates = True
    modes = PLAIN | {"tls-h2", "websocket"}
    identity = ("x-forwarded-email", EMAIL)
    level = "info,linkgate::access=off"
    settings = ISSUER
    routes = 1
    top = ""

    def __init__(self, binary):
        super().__init__()
        self.binary = binary

    @property
    def host(self):
        return f"localhost:{self.setting.port}"

    def database(self):
        return self.setting.directory / "linkgate.db"

    def listen(self, setting):
        return setting.port

    def before(self, setting):
        """What a route stands before."""
        return f"http://{setting.upstream}"

    def configure(self, setting):
        """Routes beside the first one are there to be passed over: the request's is the last."""
        text = CONFIGURATION.format(
            scheme="https" if setting.tls else "http",
            port=setting.port,
            listen=self.listen(setting),
            admin=setting.ports[1],
            level=self.level,
            database=self.database(),
            top=self.top,
            settings=self.settings,
        )
        if setting.tls:
            text += f'[tls]\ncertificate = "{setting.tls.certificate}"\nprivate_key = "{setting.tls.key}"\n'
        for number in range(1, self.routes):
            text += ROUTE.format(place=f'path = "/part-{number}"\n', upstream=self.before(setting))
        text += ROUTE.format(place="", upstream=self.before(setting))
        path = setting.directory / "gateway.toml"
        path.write_text(text)
        return path

    def launch(self, setting):
        configuration = self.configure(setting)
        self.spawn([self.binary, "--config", configuration])

    def credential(self):
        return {"Cookie": sign_in(self.setting, self.host, EMAIL)}

    def version(self):
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()


class WithAccessLog(Linkgate):
    name = "linkgate with access log"
    modes = frozenset({"keep-alive"})
    level = "info"


class WithRoutes(Linkgate):
    modes = frozenset({"routes"})

    def __init__(self, binary, routes):
        super().__init__(binary)
        self.routes = routes
        self.name = f"linkgate with {routes} route{'s' if routes > 1 else ''}"


class SigningIn(Linkgate):
    """What `load login` signs in at, with the limits that it needs."""

    modes = frozenset({"login"})

    def __init__(self, options):
        super().__init__(options.linkgate)
        self._load = options.program("load")

    def launch(self, setting):
        said = subprocess.run([self._load, "login-settings"], capture_output=True, text=True, check=True)
        self.settings = said.stdout
        super().launch(setting)


class Filled:
    """A store with many sessions, and the cookies of the first of them."""

    def __init__(self, options, sessions, cookies):
        self.sessions = sessions
        self._seed, self._cookies = options.program("seed"), cookies
        self._folder = options.kept / f"sessions-{sessions}"
        self.database = self._folder / "linkgate.db"
        self.cookies = self._folder / "cookies"

    def fill(self):
        """Filling takes minutes, so the store is kept for the next run. Its sessions end after a week, and a program that
        was built since may write them in another way."""
        done = self._folder / "filled"
        since = max(self._seed.stat().st_mtime, time.time() - 5 * 86_400)
        if done.exists() and done.stat().st_mtime >= since:
            return
        for old in self._folder.glob("*"):
            old.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([self._seed, self.database, str(self.sessions), self.cookies, str(self._cookies)], check=True)
        done.touch()


class WithSessions(Linkgate):
    """A gateway with a store that has been filled before, of whose sessions some are used in turn."""

    modes = frozenset({"sessions"})
    identity = ("x-forwarded-email", None)

    def __init__(self, binary, filled, in_use):
        super().__init__(binary)
        self.name = f"linkgate with {filled.sessions} session{'s' if filled.sessions > 1 else ''}, {in_use} in use"
        self._filled, self.in_use = filled, in_use

    def database(self):
        return self._filled.database

    def cookies(self):
        return self._filled.cookies

    def launch(self, setting):
        self._filled.fill()
        super().launch(setting)

    def credential(self):
        with open(self.cookies(), encoding="ascii") as file:
            return {"Cookie": file.readline().strip()}


def sign_in(setting, host, address):
    """Walks through the sign-in as a browser does. Gives the value of `Cookie`."""
    visitor = Visitor(setting, host)
    page = visitor.open("GET", "/.linkgate/sign-in?return_to=%2F")[2]
    form = {"email": address, "csrf": _field(page, "csrf"), "return_to": "/"}
    visitor.open("POST", "/.linkgate/sign-in", form)
    link = _mailed_link(setting, host, address)
    page = visitor.open("GET", link)[2]
    callback = visitor.open("POST", "/.linkgate/link", {"token": _field(page, "token")})[1]
    visitor.open("GET", callback)
    session = {name: value for name, value in visitor.jar.items() if name.endswith("linkgate")}
    if not session:
        raise RuntimeError(f"linkgate gave no session, only {', '.join(visitor.jar) or 'no cookie'}")
    return "; ".join(f"{name}={value}" for name, value in session.items())


class Visitor:
    """A browser with a cookie jar."""

    def __init__(self, setting, host):
        self._setting, self._host = setting, host
        self.jar = {}

    def open(self, method, target, form=None, accept="text/html"):
        """Gives status, where it leads, and the page."""
        parts = urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        fields = {"Host": self._host, "Accept": accept}
        scheme = "https" if self._setting.tls else "http"
        if self.jar:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        if form is not None:
            fields |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{scheme}://{self._host}"}
        connection = connect(self._setting)
        try:
            connection.request(method, path, urlencode(form) if form is not None else None, fields)
            answer = connection.getresponse()
            page = answer.read().decode(errors="replace")
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.split(";", 1)[0].partition("=")
            self.jar[name] = value
        return answer.status, answer.headers.get("Location", ""), page


def _mailed_link(setting, host, address):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        status, _, mail = Visitor(setting, host).open(
            "GET", f"/.linkgate/mailbox/latest?{urlencode({'to': address})}", accept="application/json"
        )
        if status == http.client.OK:
            return json.loads(mail)["link"]
        time.sleep(0.02)
    raise RuntimeError("linkgate sent no link")


def _field(page, name):
    """The value of a hidden field."""
    for tag in re.findall(r"<input[^>]*>", page):
        if f'name="{name}"' in tag:
            return html.unescape(re.search(r'value="([^"]*)"', tag).group(1))
    raise RuntimeError(f"linkgate's page has no field {name}: {page[:200]}")


def peers(options):
    one, million = Filled(options, 1, 1), Filled(options, 1_000_000, 100_000)
    return [
        Linkgate(options.linkgate),
        WithAccessLog(options.linkgate),
        *(WithRoutes(options.linkgate, routes) for routes in (1, 10, 100)),
        WithSessions(options.linkgate, one, 1),
        # The first two tell what a store costs by its size; the others what visitors cost who share connections.
        *(WithSessions(options.linkgate, million, in_use) for in_use in (1, 64, 100_000)),
        SigningIn(options),
    ]
