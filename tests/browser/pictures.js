// Takes the pictures of the documentation: `npm run pictures`.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.js";
import { startGate } from "./gate.js";
import { STATES } from "./states.js";
import { visit } from "./visitor.js";

const HOME = fileURLToPath(new URL("../../docs/pictures/", import.meta.url));

const browser = await launch();
const gate = await startGate("usual");
try {
  await mkdir(HOME, { recursive: true });
  const pictures = { "sign-in": "sign-in", "check-email": "check-your-email", "no-access": "no-access" };
  for (const [name, picture] of Object.entries(pictures)) {
    const visitor = await visit(browser, gate, { viewport: { width: 520, height: 400 } });
    visitor.address = "ada@example.com";
    await STATES.find((state) => state.name === name).reach(visitor);
    await visitor.page.mouse.move(0, 0);
    await visitor.page.screenshot({ path: `${HOME}${picture}.png`, fullPage: true });
    await visitor.leave();
  }
} finally {
  await browser.close();
  await gate.stop();
}
