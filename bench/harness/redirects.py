"""A browser as far as signing in needs one: it follows redirects and keeps cookies."""

import http.client
from urllib.parse import urljoin, urlsplit

MOST = 20


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
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=fields)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    for cookie in answer.headers.get_all("Set-Cookie", []):
        pair, *attributes = (part.strip() for part in cookie.split(";"))
        name, _, value = pair.partition("=")
        past = any(a.lower() == "max-age=0" or a.lower().startswith("expires=thu, 01 jan 1970") for a in map(str, attributes))
        if past or not value:
            jar.pop(name, None)
        else:
            jar[name] = value
    return answer.status, answer.getheader("Location") if 300 <= answer.status < 400 else None
