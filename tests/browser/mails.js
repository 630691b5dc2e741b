// Every mail that the program sends, in every language, as a phone and a desk show it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { request } from "playwright-core";
import { PICTURES, violations } from "./audit.js";
import { until } from "./gate.js";

export const LANGUAGES = { en: "ltr", de: "ltr", fr: "ltr", es: "ltr", he: "rtl" };
const WIDTHS = [375, 1280];
const SCHEMES = ["light", "dark"];
const MOST_BYTES = 30 * 1024;
const LEAST_TARGET = 44;
const LEAST_TEXT = 16;
// Mail programs show a mail inside of landmarks of their own.
const OF_PAGES = ["region", "landmark-one-main"];
const AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/** Asks for a link as a browser in this language does, and then for a code; gives both mails. */
async function askIn(gate, language) {
  const address = `mail-${language}@example.com`;
  const visitor = await request.newContext({
    baseURL: gate.origin,
    userAgent: AGENT,
    extraHTTPHeaders: { "accept-language": language },
  });
  try {
    const page = await (await visitor.get("/.linkgate/sign-in")).text();
    const csrf = page.match(/name="csrf" value="([^"]+)"/)[1];
    await visitor.post("/.linkgate/sign-in", { form: { csrf, email: address } });
    const link = await gate.mail(address);
    await visitor.post("/.linkgate/sign-in/code", { form: { csrf, send: "1" } });
    const code = await until("the code", async () => {
      const mail = await gate.newest(address);
      return mail.link ? null : mail;
    });
    return { "sign-in": link, code };
  } finally {
    await visitor.dispose();
  }
}

async function invitation(gate, language) {
  const address = `guest-${language}@example.com`;
  await gate.invite(language, address);
  return { invitation: await gate.mail(address) };
}

/** Has every mail sent: what it is, its language, and the mail. */
export async function sendAll(gate) {
  const sent = await Promise.all(Object.keys(LANGUAGES).map(async (language) => {
    const mails = { ...(await askIn(gate, language)), ...(await invitation(gate, language)) };
    return Object.entries(mails).map(([name, mail]) => ({ name, language, mail }));
  }));
  return sent.flat();
}

/** A tab that shows mails, and loads nothing. */
export async function openReader(browser) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const asked = [];
  let shown = "";
  await context.route("**/*", (route) => {
    if (route.request().isNavigationRequest()) {
      return route.fulfill({ contentType: "text/html; charset=utf-8", body: shown });
    }
    asked.push(route.request().url());
    return route.abort();
  });
  const show = async (html) => {
    shown = html;
    asked.length = 0;
    await page.goto("https://mail.test/");
  };
  return { page, asked, show, close: () => context.close() };
}

/** All there is to say against the mail. */
export async function auditMail(reader, { name, language, mail, buttons = mail.link ? 1 : 0 }) {
  const { page, asked, show } = reader;
  const problems = [];
  const bytes = Buffer.byteLength(mail.html);
  if (bytes > MOST_BYTES) problems.push(`the mail weighs ${bytes} bytes`);
  await show(mail.html);
  const root = await page.evaluate(() => [document.documentElement.lang, document.documentElement.dir]);
  assert.deepEqual(root, [language, LANGUAGES[language]]);
  // What lies behind a mail is the mail program's: the system's own colour, which axe does not look up.
  await page.evaluate(() => (document.documentElement.style.background = "Canvas"));
  await mkdir(PICTURES, { recursive: true });
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      const found = [...(await violations(page, OF_PAGES)), ...(await faults(page, buttons))];
      problems.push(...found.map((problem) => `${width} ${colorScheme}: ${problem}`));
      await page.screenshot({ path: `${PICTURES}mail-${name}-${language}-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  assert.deepEqual([...problems, ...asked.map((url) => `it asks for ${url}`)], []);
}

function faults(page, buttons) {
  return page.evaluate(([leastTarget, leastText, buttonsMeant]) => {
    const problems = [];
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) problems.push(`it scrolls sideways: ${scrollWidth} of ${clientWidth}`);
    const buttons = [...document.querySelectorAll("td[bgcolor] a")];
    for (const button of buttons) {
      const { width, height } = button.getBoundingClientRect();
      if (height < leastTarget || width < leastTarget) problems.push(`a button of ${width} × ${height}`);
    }
    if (buttons.length !== buttonsMeant) problems.push(`${buttons.length} buttons`);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const { data, parentElement } = texts.currentNode;
      const size = parseFloat(getComputedStyle(parentElement).fontSize);
      if (data.trim() && parentElement.checkVisibility() && size < leastText) problems.push(`${size} px: ${data}`);
    }
    return problems;
  }, [LEAST_TARGET, LEAST_TEXT, buttons]);
}
