"""Somebody who is signed in at a linkgate that runs as a process, and the requests that their browser sends through it
to a small upstream; for the programs of bench/ that run it or the bare pass-through.
"""

import contextlib
import html
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

# Nothing takes longer, however busy the machine is.
PATIENCE = 120

HOST = "localhost:8080"
SECURE_HOST = "localhost:8443"
ADDRESS = "ada@example.com"
OTHER_ADDRESS = "bob@example.com"
# Bytes of the cookies, the session's included, and of the answer.
COOKIE_BYTES = 2048
BODY = b"x" * 1024
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Cache-Control: private, max-age=0\r\n"
    b"Vary: Accept-Encoding\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY

# One thread, as the bare pass-through has; no line of log for a request, and nothing that happens by the clock.
CONFIGURATION = """
public_url = "{public_url}"
listen = "127.0.0.1:0"
threads = 1
[admin]
listen = "127.0.0.1:0"
[log]
level = "info,linkgate::access=off"
format = "json"
[reload]
watch = false
[session]
store = "memory"
[issuer]
mailbox = true
[[issuer.user]]
email = "{address}"
name = "Ada Lovelace"
groups = ["staff", "engineering", "operations"]
[[issuer.user]]
email = "{other_address}"
name = "Bob Babbage"
groups = ["staff", "sales"]
[[route]]
upstream = "http://{upstream}"
"""
CERTIFICATE, KEY = "certificate.pem", "key.pem"
TLS = f"""
[tls]
certificate = "{CERTIFICATE}"
private_key = "{KEY}"
"""


class Failure(Exception):
    """What ends the script, in words for whoever runs it."""


class Upstream:
    """Answers every request with the same bytes, and keeps the header of the last one."""

    def __init__(self):
        self.seen = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError), connection:
            received = b""
            while more := connection.recv(65536):
                received += more
                # No request has a body.
                if received.endswith(b"\r\n\r\n"):
                    self.seen, received = received, b""
                    connection.sendall(ANSWER)


class Program:
    """A process in a folder of its own, killed when its block ends."""

    def __init__(self, name, command, home):
        self.name = name
        self.log = home / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(map(str, command), cwd=home, stdin=subprocess.DEVNULL, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def stop(self, signal):
        """Has it end by itself."""
        self.process.send_signal(signal)
        if code := self.process.wait(PATIENCE):
            raise Failure(f"{self.name} ended with exit code {code}\n{self.log.read_text()}")

    def eventually(self, attempt, what):
        """The first thing that `attempt` gives."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended while it was waited for: {what}\n{self.log.read_text()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if found := attempt():
                    return found
            time.sleep(0.1)
        raise Failure(f"{self.name} took longer than {PATIENCE} s: {what}\n{self.log.read_text()}")

class Wire:
    """One connection, for one request after the other."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exchange(self, request):
        self.socket.sendall(request)
        received = b""
        while not received.endswith(BODY):
            more = self.socket.recv(65536)
            received += more
            if not more or not received.startswith(b"HTTP/1.1 200"):
                raise Failure(f"this is not the upstream's answer:\n{received.decode(errors='replace')}")


class Visitor:
    """Somebody with a browser: keeps cookies, follows nothing by itself."""

    def __init__(self, address, secure=False):
        self.address = address
        self.secure = secure
        self.host = SECURE_HOST if secure else HOST
        self.jar = {}

    def open(self, target, form=None, accept="text/html"):
        """The status, where a redirect leads, and the body."""
        target = target.removeprefix(public_url(self.secure)).split("#")[0]
        fields = {"Host": self.host, "Accept": accept, "Connection": "close"}
        if self.jar:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        body = None
        if form is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(form)
        if self.secure:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # The certificate is one that nobody vouches for.
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(*self.address, timeout=PATIENCE, context=trust)
        else:
            connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST" if body else "GET", target, body, fields)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.split(";")[0].partition("=")
                self.jar[name] = value
            return answer.status, answer.headers.get("Location", ""), answer.read().decode()

    def field(self, target, name):
        """The value of a field in the form of a page."""
        status, _, page = self.open(target)
        if found := re.search(f'name="{name}" value="([^"]*)"', page):
            return html.unescape(found[1])
        raise Failure(f"{target} answered {status}, without a form that has `{name}`")

    def sign_in(self, gateway, email=ADDRESS):
        """The cookie of a new session, as `name=value`."""
        csrf = self.field("/.linkgate/sign-in?return_to=/", "csrf")
        self.open("/.linkgate/sign-in", {"email": email, "csrf": csrf, "return_to": "/"})

        def mail():
            status, _, body = self.open(f"/.linkgate/mailbox/latest?to={email}", accept="application/json")
            return json.loads(body) if status == 200 else None

        link = gateway.eventually(mail, "the mail with the link")["link"]
        token = self.field(link, "token")
        _, callback, _ = self.open("/.linkgate/link", {"token": token})
        self.open(callback)
        name = "__Host-linkgate" if self.secure else "linkgate"
        if name not in self.jar:
            raise Failure(f"{callback} gave no session")
        return f"{name}={self.jar[name]}"


def signed_in_request(session):
    """What a browser sends for a page, in the middle of an application's many cookies."""
    around = COOKIE_BYTES - len(session)
    cookies = []
    while around > 0:
        name = f"preference_{len(cookies)}="
        length = min(around, 146)
        cookies.append((name + "dGhlIHNhbWUgZm9yIGV2ZXJ5Ym9keSAg" * 5)[: length - 2])
        around -= length
    cookies.insert(len(cookies) // 2, session)
    return "\r\n".join([
        "GET /reports/2026/overview?page=2&sort=name HTTP/1.1",
        f"Host: {HOST}",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-GB,en;q=0.8,de;q=0.5",
        "Accept-Encoding: gzip, deflate, br, zstd",
        f"Referer: http://{HOST}/reports/2026",
        f"Cookie: {'; '.join(cookies)}",
        "Upgrade-Insecure-Requests: 1",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: same-origin",
        "\r\n",
    ]).encode()


def public_url(secure):
    """Where browsers are told that linkgate is."""
    return f"https://{SECURE_HOST}" if secure else f"http://{HOST}"


def configure(home, upstream, secure=False):
    """Writes down what linkgate is to do in a folder, in which its certificate is where it speaks TLS."""
    addresses = {"address": ADDRESS, "other_address": OTHER_ADDRESS}
    text = CONFIGURATION.format(public_url=public_url(secure), upstream=upstream.address, **addresses)
    (home / "gateway.toml").write_text(text + (TLS if secure else ""))


def make_certificate(home):
    """A certificate for localhost, vouched for by nobody, with its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", home / KEY, "-out", home / CERTIFICATE]
    subprocess.run(command, check=True, capture_output=True)


def ready_gateway(gateway):
    """The address of a linkgate that was started, once it is ready."""

    def addresses():
        lines = (line for line in gateway.log.read_text().splitlines() if '"linkgate is running"' in line)
        return [parse_address(line[name]) for line in map(json.loads, lines) for name in ("listen", "admin.listen")]

    address, admin = gateway.eventually(addresses, "the line that says that it runs")
    gateway.eventually(lambda: is_ready(admin), "the answer that it is ready")
    return address


def free_address():
    """Where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()


def ready_bare(bare, address):
    """Waits until the pass-through that was started listens."""
    bare.eventually(lambda: listens(address), "its port")


def knows_visitor(upstream):
    """Whether the last request told the upstream who is signed in."""
    return f"\r\nx-forwarded-email: {ADDRESS}\r\n".encode() in upstream.seen.lower()


def parse_address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def is_ready(address):
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/health/ready", headers={"Host": "localhost", "Connection": "close"})
        return connection.getresponse().status == 200


def listens(address):
    socket.create_connection(address, timeout=PATIENCE).close()
    return True
