"""A browser as far as signing in needs one: it follows redirects and keeps cookies."""

import http.client
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

MOST = 20

# Seconds that a server may take until it listens.
PATIENCE = 10


def sign_in(url):
    """Opens `url` and goes where it is led, until a page is there. Gives the value of `Cookie` for the server of `url`."""
    jars = {}
    target = url
    for _ in range(MOST):
        server = urlsplit(target).netloc
        jar = jars.setdefault(server, {})
        status, location = _open(target, server, jar)
        if location is None:
            if status != 200:
                raise RuntimeError(f"{target} answered {status} in place of a page")
            return "; ".join(f"{name}={value}" for name, value in jars[urlsplit(url).netloc].items())
        target = urljoin(target, location)
    raise RuntimeError(f"{url} leads nowhere within {MOST} redirects")


def _open(target, server, jar):
    """Opens one address with the cookies of its server; gives the status, and where a redirect leads."""
    parts = urlsplit(target)
    connection = http.client.HTTPConnection(server, timeout=10)
    fields = {"Accept": "text/html", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    if jar:
        fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
    try:
        _connect(connection)
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=fields)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    _keep_cookies(jar, answer.headers.get_all("Set-Cookie", []))
    return answer.status, answer.getheader("Location") if 300 <= answer.status < 400 else None


def _connect(connection):
    """Connects, once the server listens that was just started."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _keep_cookies(jar, cookies):
    """Takes over what `Set-Cookie` says; a cookie is taken back by an end that is past, or by an empty value."""
    for cookie in cookies:
        pair, *attributes = cookie.split(";")
        name, _, value = pair.strip().partition("=")
        attributes = dict(attribute.strip().lower().partition("=")[::2] for attribute in attributes)
        if not value or attributes.get("max-age") == "0" or _is_past(attributes.get("expires")):
            jar.pop(name, None)
        else:
            jar[name] = value


def _is_past(date):
    try:
        return parsedate_to_datetime(date).timestamp() < time.time()
    except (TypeError, ValueError):
        return False
