// The real program on free ports of this machine, with a configuration of its own in a directory of its own.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = process.env.LINKGATE ?? fileURLToPath(new URL("../../target/debug/linkgate", import.meta.url));
const PATIENCE_MS = 20_000;
const PAUSE_MS = 20;

/** What `condition` gives once that is something; fails when it stays nothing for long. */
export async function until(what, condition) {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Ports that nobody listens on. */
async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => listen(createServer())));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function listen(server) {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** An application that takes requests and never answers. */
async function startSilentApplication() {
  const sockets = new Set();
  const server = await listen(createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.resume();
  }));
  const close = () => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

/** How long a session of the kind `idle` may rest. */
export const IDLE_TIMEOUT_MS = 2_000;

/** A path whose name makes an assertion about it too long to be sent. */
export const UNSIGNABLE = `/${"x".repeat(8_300)}`;

const ISSUER = `[issuer]
mailbox = true
[sign_up]
allow = ["*"]`;

const MANY_LINKS = `links_per_peer = 10000
links_in_all = 10000
resend_pause = "1s"`;

/** Parts of the site with an owner each: what is asked of one at the same time is not the newest mail of another. */
const OWNERS = 8;

/** Where a visitor is refused and can ask, and whom. */
export const ownedBy = (number) => ({ path: `/owned${number % OWNERS}`, owner: `owner${number % OWNERS}@example.com` });

const OWNED = Array.from({ length: OWNERS }, (_, number) => ownedBy(number)).map(({ path, owner }) => `[[route]]
path = "${path}"
upstream = "demo"
allow = { groups = ["editors"] }
owners = ["${owner}"]`).join("\n");

const WITHOUT_MOSAIC = (port) => `[mosaic]
base_url = "http://127.0.0.1:${port}"
issuer = "http://127.0.0.1:${port}"
client_id = "wiki"
client_secret_env = "WIKI_SECRET"`;

/** The gateways of the tests: one as most are, and others where something is short, scarce or away. */
export const KINDS = {
  usual: () => `${ISSUER}
[sign_in]
links_per_mailbox = 100
${MANY_LINKS}`,
  short: () => `${ISSUER}
[sign_in]
${MANY_LINKS}
[session]
lifetime = "5s"`,
  scarce: () => `${ISSUER}
[sign_in]
links_per_mailbox = 1
links_per_peer = 10000
resend_pause = "1s"`,
  crowded: () => `${ISSUER}
[sign_in]
links_per_peer = 1`,
  alone: (nowhere) => `${WITHOUT_MOSAIC(nowhere)}
[sign_in]
${MANY_LINKS}`,
  idle: () => `${ISSUER}
[sign_in]
${MANY_LINKS}
[session]
idle_timeout = "${IDLE_TIMEOUT_MS}ms"`,
  storeless: (nowhere) => `${ISSUER}
[session]
store = "redis://127.0.0.1:${nowhere}"`,
  matching: () => `${ISSUER}
[sign_in]
${MANY_LINKS}
other_devices = "match-number"`,
  owned: () => `${ISSUER}
[sign_in]
links_per_mailbox = 100
notices = ["new-browser", "signed-out-everywhere"]
${MANY_LINKS}`,
  mailing: () => `${ISSUER}
[sign_in]
links_per_mailbox = 100
${MANY_LINKS}`,
  failing: () => ISSUER,
};

/** Starts a gateway of this kind; `kind-de` has mails that nobody asked for on a page in that language. */
export async function startGate(named) {
  const [kind, language = "en"] = named.split("-");
  const [port, admin, nowhere] = await freePorts(3);
  const silent = await startSilentApplication();
  const home = await mkdtemp(join(tmpdir(), "linkgate-browser-"));
  const config = `public_url = "http://localhost:${port}"
listen = "127.0.0.1:${port}"
${KINDS[kind](nowhere)}
[admin]
listen = "127.0.0.1:${admin}"
[theme]
language = "${language}"
name = "Example Wiki"
contact = "help@example.com"
[[route]]
upstream = "demo"
[[route]]
path = "/closed"
upstream = "demo"
allow = { groups = ["editors"] }
no_access_text = "Ask your team lead to add you to the group editors."
${kind === "owned" ? OWNED : ""}
[[route]]
path = "/down"
upstream = "http://127.0.0.1:${nowhere}"
[[route]]
path = "/slow"
upstream = "${silent.url}"
response_timeout = "100ms"
retries = 0
[[route]]
path = "${UNSIGNABLE}"
upstream = "demo"
assertion = true
`;
  const file = join(home, "gateway.toml");
  await writeFile(file, config);
  const program = spawn(PROGRAM, ["--config", file], {
    env: { ...process.env, WIKI_SECRET: "not-so-secret" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  program.stderr.on("data", (text) => (log += text));
  const ended = new Promise((resolve) => program.on("exit", resolve));
  const origin = `http://localhost:${port}`;
  const command = (asked) => new Promise((resolve, reject) => {
    const running = spawn(PROGRAM, asked, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    running.stdout.on("data", (text) => (said += text));
    running.on("exit", (code) => (code === 0 ? resolve(said) : reject(new Error(`failed to ${asked.join(" ")}`))));
  });
  const invite = async (language, to) => {
    const itsFile = join(home, `${language}.toml`);
    await writeFile(itsFile, config.replace(/^language = .*$/m, `language = "${language}"`));
    await command(["invite", to, "--route", "/closed", "--config", itsFile]);
  };
  const live = () => fetch(`http://127.0.0.1:${admin}/health/live`).then((answer) => answer.ok, () => false);
  const stop = async () => {
    program.kill("SIGTERM");
    silent.close();
    await ended;
    await rm(home, { recursive: true, force: true });
  };
  try {
    await until(`the gateway ${kind}`, () => {
      if (program.exitCode !== null) throw new Error(`the gateway ${kind} ended:\n${log}`);
      return live();
    });
  } catch (error) {
    await stop();
    throw error;
  }

  // As the host that it is visited by, from wherever `localhost` leads for this program.
  const mails = (to) => fetch(`${origin}/.linkgate/mailbox/latest?to=${encodeURIComponent(to)}`).then(
    (answer) => (answer.ok ? answer.json() : null),
  );
  return {
    kind,
    origin,
    /** The newest mail to `to`, once there is one that is not `known`. */
    mail: (to, known) => until(`a mail to ${to}`, async () => {
      const mail = await mails(to);
      return mail && mail.link !== known?.link ? mail : null;
    }),
    newest: mails,
    /** The mail by which `owner` is asked to let `who` in. */
    request: (owner, who) => until(`a request of ${who}`, async () => {
      const mail = await mails(owner);
      return mail?.text.includes(who) && mail.link?.includes("/.linkgate/access/") ? mail : null;
    }),
    /** Has a mail with an invitation sent, in the language that the theme may have. */
    invite,
    /** How many sessions somebody has. Whoever asks the gateway itself would use the session. */
    sessions: async (of) => {
      const said = await command(["sessions", "list", of, "--json", "--config", file]);
      return JSON.parse(said).gateway.length;
    },
    /** Has mail arrive (`works`), come late (`slow`) or not be taken (`fails`). */
    choose: (sending) => fetch(`${origin}/.linkgate/mailbox/sending`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sending }),
    }).then((answer) => {
      if (!answer.ok) throw new Error(`the mailbox does not take ${sending}`);
    }),
    stop,
  };
}
