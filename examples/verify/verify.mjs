// Checks assertions of linkgate with jose. Usage: node verify.mjs KEY_SET_URL ISSUER AUDIENCE < assertions, one a line
import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [url, issuer, audience] = process.argv.slice(2);
// Make it once: it keeps the key set, and asks again when it meets a new key.
const keys = createRemoteJWKSet(new URL(url), { cacheMaxAge: 300_000 });

async function verify(assertion) {
  const { payload } = await jwtVerify(assertion, keys, {
    algorithms: ["ES256"],
    issuer,
    audience,
    clockTolerance: 10,
    requiredClaims: ["iss", "aud", "sub", "exp", "iat"],
  });
  // An array with it and others is for others too.
  if (payload.aud !== audience) throw new Error("it is for others too");
  return payload;
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const claims = await verify(line.trim());
    console.log("good", claims.sub, claims.email ?? "-");
  } catch (error) {
    process.exitCode = 1;
    console.log("refused", error.message);
  }
}
