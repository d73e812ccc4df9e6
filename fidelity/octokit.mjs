// Runs @octokit/auth-app in @octokit/core. What to do comes as JSON on standard
// input, what came of it goes as JSON to standard output:
//
//	{"baseUrl": …, "headers": {…}, "auth": {"appId": …}, "steps": [{"auth": {…}}, {"request": ["GET /app", {…}]}]}
//	{"results": [{"value": …} or {"error": {"name": …, "status": …, "message": …}}], "warnings": […]}
//
// With "token" that is used, and no App. With "jwtFromTheFuture" the App signs JWTs issued two minutes ahead, until
// Octokit has measured the clock: Octokit's own are never only that.
import { createPrivateKey, sign } from "node:crypto";
import { text } from "node:stream/consumers";
import { createAppAuth } from "@octokit/auth-app";
import { Octokit } from "@octokit/core";

const { baseUrl, headers, auth, token, steps, jwtFromTheFuture } = JSON.parse(await text(process.stdin));

const warnings = [];
const log = { debug() {}, info() {}, warn: (message) => warnings.push(String(message)), error: (message) => warnings.push(String(message)) };

if (jwtFromTheFuture) {
  const key = createPrivateKey(auth.privateKey);
  delete auth.privateKey;
  auth.createJwt = async (appId, timeDifference) => {
    const iat = Math.floor(Date.now() / 1000) + (timeDifference === undefined ? 120 : timeDifference - 30);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = part({ alg: "RS256", typ: "JWT" }) + "." + part({ iat, exp: iat + 240, iss: appId });
    const jwt = text + "." + sign("sha256", Buffer.from(text), key).toString("base64url");
    return { jwt, expiresAt: new Date((iat + 240) * 1000).toISOString() };
  };
}

const octokit = new Octokit({ baseUrl, log, ...(token ? { auth: token } : { authStrategy: createAppAuth, auth }) });
octokit.hook.before("request", (options) => {
  Object.assign(options.headers, headers);
});
const results = [];
for (const step of steps) {
  try {
    if (step.auth) {
      results.push({ value: await octokit.auth(step.auth) });
    } else {
      const { status, url, data } = await octokit.request(...step.request);
      results.push({ value: { status, url, data } });
    }
  } catch (error) {
    results.push({ error: { name: error.name, status: error.status, message: error.message } });
  }
}
console.log(JSON.stringify({ results, warnings }));
