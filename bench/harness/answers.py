"""Asks a peer as a visitor does, and judges whether it does what it is measured for."""

import http.client
import json
import ssl

from peer import PATIENCE

# What a request has in cookies, the credential included where it is one.
COOKIE_BYTES = 2048
REFUSALS = {302, 303, 401, 403}


def connect(setting):
    """A connection to the peer of this setting."""
    if setting.tls is None:
        return http.client.HTTPConnection("127.0.0.1", setting.port, timeout=PATIENCE)
    # The certificate is nobody's but this run's.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", setting.port, timeout=PATIENCE, context=context)


def request_fields(peer, credential):
    """The fields of the request that is measured: those of the credential among 2 KB of cookies."""
    fields = {name: value for name, value in credential.items() if name.lower() != "cookie"}
    own = next((value for name, value in credential.items() if name.lower() == "cookie"), "")
    fields["Cookie"] = among_others(own)
    if peer.host:
        fields["Host"] = peer.host
    return fields


def among_others(cookie):
    """The cookie with others before and after it, as applications set them."""
    room = max(COOKIE_BYTES - len(cookie), 0)
    before = _others("a", room // 2)
    after = _others("b", room - room // 2)
    return "; ".join(part for part in (before, cookie, after) if part)


def _others(name, size):
    cookies, number = [], 0
    while size > 60:
        cookies.append(f"{name}{number:02}=" + "0123456789abcdef" * 5)
        size -= len(cookies[-1]) + 2
        number += 1
    return "; ".join(cookies)


def ask(setting, path, fields):
    """Gives status, and the body as text."""
    connection = connect(setting)
    try:
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def check(peer, fields):
    """Says by a RuntimeError what a peer does wrong, if anything."""
    setting = peer.setting
    status, body = ask(setting, "/", fields)
    if (status, len(body)) != (200, 1024):
        raise RuntimeError(f"{peer.name} answered {status} with {len(body)} bytes in place of 200 with 1024")
    status, seen = ask(setting, "/echo", fields)
    if status != 200 or not seen.startswith("GET /echo HTTP/1.1"):
        raise RuntimeError(f"{peer.name} did not forward the request: {status} {json.dumps(seen[:200])}")
    if not peer.authenticates:
        return
    name, value = peer.identity
    told = [line.partition(":")[2].strip() for line in seen.splitlines() if line.lower().startswith(f"{name.lower()}:")]
    if len(told) != 1 or (value is not None and told != [value]):
        raise RuntimeError(f"{peer.name} told the upstream {told} as {name} in place of {value}")
    nobody = {name: value for name, value in fields.items() if name in ("Host",)} | {"Cookie": among_others("")}
    status, _ = ask(setting, "/", nobody)
    if status not in REFUSALS:
        raise RuntimeError(f"{peer.name} answered {status} to somebody without a credential")
