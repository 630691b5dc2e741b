# Checks assertions of linkgate with PyJWT. Usage: verify.py KEY_SET_URL ISSUER AUDIENCE < assertions, one a line
import sys

import jwt

url, issuer, audience = sys.argv[1:]
# Make it once: it keeps the key set for five minutes, and asks again when it meets a new key.
keys = jwt.PyJWKClient(url, lifespan=300)


def verify(assertion):
    if "crit" in jwt.get_unverified_header(assertion):
        raise jwt.InvalidTokenError("it demands something unknown")
    return jwt.decode(
        assertion,
        keys.get_signing_key_from_jwt(assertion),
        algorithms=["ES256"],
        issuer=issuer,
        audience=audience,
        leeway=10,
        options={"require": ["iss", "aud", "sub", "exp", "iat"], "strict_aud": True},
    )


refused = False
for line in sys.stdin:
    try:
        claims = verify(line.strip())
        print("good", claims["sub"], claims.get("email", "-"))
    except jwt.PyJWTError as error:
        refused = True
        print("refused", error)
sys.exit(refused)
