// What holds for every page, however it is shown.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const axe = createRequire(import.meta.url)("axe-core");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const MOST_BYTES = 30 * 1024;
const LEAST_TARGET = 44;
const WIDTHS = [1280, 320];
const SCHEMES = ["light", "dark"];

export const PICTURES = fileURLToPath(new URL("../../target/browser/", import.meta.url));

/** All there is to say against the page, in light and dark, wide and narrow. */
export async function audit(visitor, name) {
  const page = visitor.script ? visitor.page : await copyOf(visitor);
  const problems = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: width === 320 ? 640 : 800 });
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      const found = [...(await violations(page)), ...(await layoutProblems(page))];
      problems.push(...found.map((problem) => `${width} ${colorScheme}: ${problem}`));
      if (visitor.script && (colorScheme === "light" || width === 1280)) {
        await mkdir(PICTURES, { recursive: true });
        await page.screenshot({ path: `${PICTURES}${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
    }
  }
  const bytes = await weight(visitor, page);
  if (bytes > MOST_BYTES) problems.push(`the page weighs ${bytes} bytes`);
  assert.deepEqual([...problems, ...visitor.problems], []);
}

/**
 * What a page without script shows, in one where axe can run: with scripts switched off nothing that axe waits for ever
 * happens. It is the same document at the same address, where `noscript` is what it means there: no more than a box.
 */
async function copyOf(visitor) {
  const html = (await visitor.page.content())
    .replace(/<script\b[^>]*><\/script>/g, "")
    .replace(/<(\/?)noscript>/g, "<$1div>");
  const page = await visitor.openCopy();
  const url = visitor.page.url();
  await page.route(url, (route) => route.fulfill({ contentType: "text/html; charset=utf-8", body: html }));
  await page.goto(url);
  return page;
}

/** What axe finds, by every rule but those `leftOut`. The debugger runs this: no policy of the page concerns it. */
export async function violations(page, leftOut = []) {
  if (!(await page.evaluate("typeof axe === 'object'"))) await page.evaluate(axe.source);
  // The mail's own frame is looked at by itself.
  const result = await page.evaluate(
    ([values, rules]) => axe.run(document, {
      runOnly: values,
      rules: Object.fromEntries(rules.map((rule) => [rule, { enabled: false }])),
      resultTypes: ["violations"],
      iframes: false,
      preload: false,
    }),
    [RULES, leftOut],
  );
  return result.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
}

export function layoutProblems(page) {
  return page.evaluate((least) => {
    const problems = [];
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) problems.push(`it scrolls sideways: ${scrollWidth} of ${clientWidth}`);
    // Links within a sentence are as high as its lines (WCAG 2.5.8).
    const targets = "button, .button, input:not([type=hidden]), select, summary, .ways a, .views a, .summary a, .foot a, .choice";
    for (const target of document.querySelectorAll(targets)) {
      const { width, height } = target.getBoundingClientRect();
      const isOfChoice = target.matches(".choice input");
      if (height > 0 && !isOfChoice && (height < least - 0.1 || width < least - 0.1)) {
        problems.push(`a target of ${width} × ${height}: ${target.outerHTML}`);
      }
    }
    return problems;
  }, LEAST_TARGET);
}

async function weight({ page, sizes }, shown) {
  const assets = await shown.evaluate(() => {
    const parts = document.querySelectorAll("link[href], script[src], img[src]");
    return [...parts].map((part) => part.href ?? part.src);
  });
  const parts = await Promise.all([page.url().split("#")[0], ...assets].map((url) => sizes.get(url) ?? 0));
  return parts.reduce((sum, part) => sum + part, 0);
}
