"""Signed tokens (RFC 7515, 7519) for peers that check them, and the keys that they check them with; `openssl` signs."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from dataclasses import dataclass

ISSUER = "https://issuer.example.com"
AUDIENCE = "bench"
SUBJECT = "ada@example.com"
SECRET = "8c1f7b0a2d4e6935a7c9e1f3b5d7092468ace02468bdf13579"
LIFETIME = 24 * 3600


@dataclass(frozen=True)
class Key:
    """A key pair of `openssl`, in two files."""

    private: str
    public: str


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key(directory, algorithm):
    """A new key pair for RS256 or ES256."""
    private, public = directory / f"{algorithm}.key", directory / f"{algorithm}.pub"
    kind = {
        "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    }[algorithm]
    openssl("genpkey", *kind, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return Key(str(private), str(public))


def rsa_key_set(key):
    """The public key as a JWK set (RFC 7517)."""
    text = openssl("rsa", "-in", key.private, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
    # openssl's exponent is 65537.
    return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench", "e": "AQAB", "n": base64url(bytes.fromhex(text))}]}


def token(algorithm, key=None):
    """A token of about the size that providers give: it is about somebody, and good for a day."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "email": SUBJECT,
        "name": "Ada Lovelace",
        "groups": ["engineering", "operations", "wiki-editors"],
        "iat": now,
        "exp": now + LIFETIME,
    }
    parts = [json.dumps({"alg": algorithm, "typ": "JWT", "kid": "bench"}), json.dumps(claims)]
    signed = ".".join(base64url(part.encode()) for part in parts)
    return f"{signed}.{base64url(_signature(algorithm, key, signed.encode()))}"


def _signature(algorithm, key, signed):
    if algorithm == "HS256":
        return hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    signature = openssl("dgst", "-sha256", "-sign", key.private, given=signed)
    return _two_numbers(signature) if algorithm == "ES256" else signature


def _two_numbers(sequence):
    """The two numbers of an ECDSA signature side by side (RFC 7518, section 3.4), which openssl writes in DER."""
    numbers, at = b"", 2
    for _ in range(2):
        length = sequence[at + 1]
        numbers += sequence[at + 2 : at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return numbers


def openssl(*arguments, given=b""):
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
