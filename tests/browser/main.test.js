// The pages in a real browser: every state in every manner of showing it, then what people do with them.
//
// Everything is on this machine: a gateway of each kind, one Chromium, its engine alone for what is only looked at, and a
// profile of its own for each visitor.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { audit } from "./audit.js";
import { launch, launchEngine } from "./chromium.js";
import { ownedBy, startGate } from "./gate.js";
import { auditMail, LANGUAGES, openReader, sendAll } from "./mails.js";
import { askForAccess, STATES } from "./states.js";
import { STORIES } from "./stories.js";
import { visit } from "./visitor.js";

const LIMIT = { timeout: 60_000 };

let browser;
let engine;
const gates = {};

/** The gateway of this kind, started by who needs it first. */
const gateOf = (kind) => (gates[kind] ??= startGate(kind));

before(async () => {
  [browser, engine] = await Promise.all([launch(), launchEngine()]);
});

after(async () => {
  await Promise.all([browser?.close(), engine?.close()]);
  const started = await Promise.allSettled(Object.values(gates));
  await Promise.all(started.map(({ value }) => value?.stop()));
});

describe("every state, light and dark, wide and narrow", { concurrency: 2 }, () => {
  for (const { name, heading, title, text, kind = "usual", reach } of STATES) {
    for (const script of [true, false]) {
      test(`${name} ${script ? "with" : "without"} script`, LIMIT, async () => {
        const visitor = await visit(engine, await gateOf(kind), { script });
        try {
          await reach(visitor);
          const shown = visitor.page.locator("h1");
          await shown.waitFor();
          if (heading instanceof RegExp) assert.match(await shown.innerText(), heading);
          else assert.equal(await shown.innerText(), heading);
          if (title) assert.equal(await visitor.page.title(), title);
          if (text) assert.ok((await visitor.page.locator("main").innerText()).includes(text));
          await audit(visitor, name);
        } finally {
          await visitor.leave();
        }
      });
    }
  }
});

test("every mail in every language, light and dark, on a phone and a desk", LIMIT, async (context) => {
  const mails = await sendAll(await gateOf("mailing"));
  const reader = await openReader(engine);
  try {
    for (const mail of mails) {
      await context.test(`${mail.name} in ${mail.language}`, () => auditMail(reader, mail));
    }
  } finally {
    await reader.close();
  }
});

describe("what an owner is asked, in every language", { concurrency: 2 }, () => {
  for (const language of Object.keys(LANGUAGES)) {
    test(language, LIMIT, async () => {
      const visitor = await visit(engine, await gateOf(`owned-${language}`));
      const reader = await openReader(engine);
      try {
        await askForAccess(visitor);
        const mail = await visitor.gate.request(ownedBy(visitor.number).owner, visitor.address);
        await auditMail(reader, { name: "access-asked", language, mail, buttons: 4 });
      } finally {
        await Promise.all([reader.close(), visitor.leave()]);
      }
    });
  }
});

describe("stories", () => {
  for (const [name, tell] of Object.entries(STORIES)) {
    test(name, LIMIT, async () => {
      const gate = await gateOf("usual");
      const visitors = [];
      const come = async (options, where = gate) => {
        visitors.push(await visit(browser, where, options));
        return visitors.at(-1);
      };
      try {
        await tell({ visitor: await come(), visit: come, gate, gateOf });
        assert.deepEqual(visitors.flatMap(({ problems }) => problems), []);
      } finally {
        await Promise.all(visitors.map((visitor) => visitor.leave()));
      }
    });
  }
});
