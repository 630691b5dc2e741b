"""A small OpenID provider for peers that cannot work without one. Whoever comes is signed in at once, as the same person.

It is for measuring on one machine: it listens on loopback, and every client and secret will do. What it spends is spent
at sign-in only, and counts for nobody.
"""

import base64
import json
import secrets
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

LIFETIME = 12 * 3600


class Provider:
    """Runs from `with` until its end; `issuer` is where clients find it."""

    def __init__(self, email="ada@example.com", port=0):
        self.email = email
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._folder = tempfile.TemporaryDirectory(prefix="openid-provider-")
        self._key = Path(self._folder.name, "key.pem")
        # Codes that were not redeemed yet, with what the request for them said.
        self._codes = {}

    def __enter__(self):
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(self._key))
        modulus = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        self.key_set = {
            "keys": [
                # openssl's exponent is 65537.
                {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "e": "AQAB", "n": _base64url(bytes.fromhex(modulus))}
            ]
        }
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.cleanup()

    def discovery(self):
        """OpenID Connect Discovery 1.0, section 3."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "email", "profile"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }

    def authorize(self, request):
        """Where a browser goes back to from the authorization endpoint."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = request
        back = {"code": code, "state": request.get("state", "")}
        return f"{request['redirect_uri']}{'&' if '?' in request['redirect_uri'] else '?'}{urlencode(back)}"

    def redeem(self, code):
        """The answer of the token endpoint; `None` for a code that is not good."""
        request = self._codes.pop(code, None)
        if request is None:
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "u-1",
            "aud": request["client_id"],
            "iat": now,
            "exp": now + LIFETIME,
            "email": self.email,
            "email_verified": True,
            "name": "Ada Lovelace",
            "preferred_username": "ada",
        }
        if "nonce" in request:
            claims["nonce"] = request["nonce"]
        return {
            "access_token": secrets.token_urlsafe(32),
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "id_token": self._signed(claims),
        }

    def _signed(self, claims):
        """A JWS in its compact form (RFC 7515, section 7.1)."""
        header = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        text = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = _openssl("dgst", "-sha256", "-sign", str(self._key), given=text.encode())
        return f"{text}.{_base64url(signature)}"


def _handler_of(provider):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                self._answer(200, provider.discovery())
            elif url.path == "/keys":
                self._answer(200, provider.key_set)
            elif url.path == "/authorize" and "redirect_uri=" in url.query and "client_id=" in url.query:
                self._answer(302, {}, location=provider.authorize(_fields(url.query)))
            else:
                self._answer(404, {"error": "not_found"})

        def do_POST(self):
            form = _fields(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            tokens = provider.redeem(form.get("code")) if self.path == "/token" else None
            self._answer(*((200, tokens) if tokens else (400, {"error": "invalid_grant"})))

        def _answer(self, status, content, location=None):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nobody reads a line for each request."""

    return Handler


def _fields(text):
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
