// What people do with the pages, and in what order.

import assert from "node:assert/strict";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { layoutProblems, PICTURES } from "./audit.js";
import { launchWith } from "./chromium.js";
import { ownedBy, until } from "./gate.js";
import { Visitor } from "./visitor.js";

const SENT = "**/.linkgate/sign-in/sent";

/** Adds rules as a visitor's own style sheet would: no policy of the page concerns them. */
const restyle = (page, rules) => page.evaluate((text) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  document.adoptedStyleSheets = [sheet];
}, rules);

const tabTo = async (page, wanted) => {
  for (let presses = 0; presses < 20; presses += 1) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const { textContent, id } = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { name: id || textContent.trim(), ring: outlineStyle === "none" ? 0 : parseFloat(outlineWidth) };
    });
    assert.ok(found.ring >= 2, `the focus shows at ${found.name}`);
    if (found.name === wanted) return;
  }
  assert.fail(`no way by keyboard to ${wanted}`);
};

const mailsFor = async (visitor) => {
  const page = await (await fetch(`${visitor.gate.origin}/.linkgate/mailbox`)).text();
  return page.split(`To <bdi>${visitor.address}</bdi>`).length - 1;
};

export const STORIES = {
  async "the main path by keyboard alone"({ visitor }) {
    const { page } = visitor;
    await visitor.open("/reports");
    await tabTo(page, "email");
    await page.keyboard.type(visitor.address);
    await page.keyboard.press("Enter");
    await page.waitForURL(SENT);
    const { link } = await visitor.gate.mail(visitor.address);
    await visitor.open(link);
    await tabTo(page, "Continue");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/reports");
    await visitor.open("/.linkgate/sign-out");
    await tabTo(page, "Sign out");
    await page.keyboard.press("Space");
    await page.waitForURL("**/.linkgate/signed-out");
  },

  async "a code by keyboard alone"({ visitor }) {
    const { page } = visitor;
    const { code } = await visitor.askForMail();
    await tabTo(page, "Enter a code instead");
    await page.keyboard.press("Enter");
    await tabTo(page, "code");
    await page.keyboard.type(`${code.slice(0, 3)} ${code.slice(3)}`);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/reports");
  },

  async "the main path without script"({ visit }) {
    const visitor = await visit({ script: false });
    const { page } = visitor;
    const { link } = await visitor.askForMail();
    await visitor.openTab();
    await visitor.open(link);
    await visitor.press("Continue");
    await visitor.page.waitForURL("**/reports");
    await page.getByRole("link", { name: "I've opened the link" }).click();
    await page.waitForURL("**/reports");
  },

  async "an error has the focus, and leads to its field"({ visitor }) {
    const { page } = visitor;
    await visitor.open("/reports");
    await visitor.type("ada@");
    const summary = page.locator(".summary");
    await summary.waitFor();
    assert.ok(await summary.evaluate((element) => element === document.activeElement));
    assert.equal(await page.locator("#email").inputValue(), "ada@");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "email");
    const described = await page.locator("#email").getAttribute("aria-describedby");
    assert.equal(described, "email-hint email-problem");
  },

  async "five tabs at once"({ visitor }) {
    const tabs = [visitor.page];
    while (tabs.length < 5) tabs.push(await visitor.openTab());
    await Promise.all(tabs.map((tab, number) => tab.goto(`/reports/${number}`)));
    const button = (tab) => tab.getByRole("button", { name: "Email me a sign-in link" });
    for (const tab of tabs) {
      await tab.locator("#email").fill(visitor.address);
      await Promise.all([tab.waitForEvent("load"), button(tab).click()]);
      // The browser has the name that came last, and the forms of other tabs are for another one: they are shown anew.
      if (await tab.getByText("Press the button once more").count()) {
        assert.equal(await tab.locator("#email").inputValue(), visitor.address);
        await button(tab).click();
      }
      await tab.waitForURL(SENT);
    }
    const { link } = await visitor.gate.mail(visitor.address);
    await visitor.openTab();
    await visitor.open(link);
    await visitor.press("Continue");
    await visitor.page.waitForURL("**/reports/*");
    for (const [number, tab] of tabs.entries()) {
      await tab.goto(`/reports/${number}`);
      assert.equal(new URL(tab.url()).pathname, `/reports/${number}`);
    }
  },

  async "two browsers: the link works where it was asked for, and is not used up elsewhere"({ visitor }) {
    const { link } = await visitor.askForMail();
    const other = await visitor.other();
    await other.open(link);
    await other.press("Continue");
    assert.equal(await other.heading(), "Open this link where you started");
    assert.ok(!(await other.page.content()).includes(visitor.address));
    await visitor.open(link);
    await visitor.press("Continue");
    await visitor.page.waitForURL("**/reports");
  },

  async "the link's own page is copied where it does not work"({ visit }) {
    const visitor = await visit({ permissions: ["clipboard-read", "clipboard-write"] });
    const asker = await visitor.other();
    const { link } = await asker.askForMail();
    await visitor.open(link);
    await visitor.press("Continue");
    await visitor.press("Copy link");
    await visitor.page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await visitor.page.evaluate(() => navigator.clipboard.readText()), visitor.page.url());
    assert.equal(await visitor.page.locator("[data-say]").textContent(), "Copied");
  },

  async "a double press sends one mail"({ visitor }) {
    await visitor.open("/reports");
    await visitor.page.locator("#email").fill(visitor.address);
    await visitor.page.getByRole("button", { name: "Email me a sign-in link" }).dblclick();
    await visitor.page.waitForURL(SENT);
    await visitor.gate.mail(visitor.address);
    assert.equal(await mailsFor(visitor), 1);
  },

  async "a double press on the link's page signs in once"({ visitor }) {
    const { link } = await visitor.askForMail();
    await visitor.open(link);
    await visitor.page.getByRole("button", { name: "Continue" }).dblclick();
    await visitor.page.waitForURL("**/reports");
  },

  async "back and reload at every step"({ visitor }) {
    const { page } = visitor;
    await visitor.open("/reports");
    await page.reload();
    await visitor.type(visitor.address);
    await page.waitForURL(SENT);
    const { link } = await visitor.gate.mail(visitor.address);
    await page.reload();
    assert.equal(await visitor.heading(), "Check your email");
    await page.goBack();
    assert.equal(await visitor.heading(), "Sign in to Example Wiki");
    await page.goForward();
    assert.equal(await mailsFor(visitor), 1);
    await visitor.open(link);
    await page.reload();
    await visitor.press("Continue");
    await page.waitForURL("**/reports");
    await page.reload();
    assert.equal(new URL(page.url()).pathname, "/reports");
    await page.goBack();
    await page.waitForURL("**/reports");
    await visitor.open("/.linkgate/sign-out");
    await visitor.press("Sign out");
    await page.waitForURL("**/.linkgate/signed-out");
    await page.reload();
    assert.equal(await visitor.heading(), "You're signed out");
    await page.goBack();
    await page.reload();
    assert.equal(await visitor.heading(), "You're signed out");
  },

  async "the waiting page counts down, says so at both ends, and goes on by itself"({ visit }) {
    const visitor = await visit();
    const { page } = visitor;
    // The pages' own clock, which stands still between steps; the gateway's goes on as it does.
    const start = Date.now();
    await page.clock.install({ time: start });
    await page.clock.pauseAt(start + 60_000);
    const mail = await visitor.askForMail();
    const button = page.getByRole("button", { name: "Send again" });
    const said = page.locator("[data-say]");
    assert.ok(await button.isDisabled());
    assert.match(await said.textContent(), /^You can send another in 0:0\d$/);
    await page.clock.runFor(3_000);
    assert.ok(await button.isEnabled());
    assert.equal(await said.textContent(), "You can send another email now");

    const tab = await visitor.openTab();
    await visitor.open(mail.link);
    await visitor.press("Continue");
    await tab.waitForURL("**/reports");
    await page.bringToFront();
    await until("the notice", async () => {
      // Less than the notice stands before the page goes on, whenever in between it came.
      await page.clock.runFor(1_000);
      return (await page.title()) === "You're signed in";
    });
    await until("the way on", async () => {
      await page.clock.runFor(1_500);
      return page.url().endsWith("/reports");
    });
  },

  async "times are those of the visitor's own zone"({ visit }) {
    const visitor = await visit({ timezoneId: "Asia/Kolkata", locale: "en-GB" });
    await visitor.ask();
    const time = visitor.page.locator("main time").first();
    const moment = new Date(await time.getAttribute("datetime"));
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", hour: "numeric", minute: "2-digit" });
    assert.ok((await time.textContent()).includes(clock.format(moment)), await time.textContent());
  },

  async "large text and wide spacing hide nothing"({ visitor }) {
    const { page } = visitor;
    const isWhole = async (rules, width = 320) => {
      await page.setViewportSize({ width, height: 640 });
      await restyle(page, rules);
      // At other hours there are fewer digits in it.
      await page.evaluate(() => document.querySelectorAll("main time").forEach((time) => {
        time.textContent = time.textContent.replace(/^\d+:\d+/, "10:00");
      }));
      assert.deepEqual(await layoutProblems(page), []);
      const cut = await page.evaluate(() => [...document.querySelectorAll("button, .button, label, h1, p, summary")]
        .filter((part) => !part.matches(".unseen, .unseen *") && part.scrollWidth > part.clientWidth + 1)
        .filter((part) => part.clientWidth > 0)
        .map((part) => part.outerHTML));
      assert.deepEqual(cut, []);
    };
    const spaced = `* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; }
      p { margin-bottom: 2em !important; }`;
    const large = "html { font-size: 200%; }";
    await visitor.open("/reports");
    await isWhole(spaced);
    await isWhole(large, 640);
    await visitor.ask();
    await isWhole(spaced);
    await isWhole(large, 640);
    await visitor.signIn();
    await visitor.open("/closed");
    await isWhole(spaced);
    await isWhole(large, 640);
  },

  async "forced colours leave buttons their edges"({ visitor }) {
    const { page } = visitor;
    await page.emulateMedia({ forcedColors: "active" });
    await visitor.open("/reports");
    const edge = (selector) => page.locator(selector).evaluate((part) => {
      const { borderTopStyle, borderTopWidth, borderTopColor } = getComputedStyle(part);
      return borderTopStyle === "solid" && parseFloat(borderTopWidth) >= 1 && borderTopColor !== "rgba(0, 0, 0, 0)";
    });
    for (const part of ["button", "input#email", ".card"]) assert.ok(await edge(part), part);
    await mkdir(PICTURES, { recursive: true });
    await page.screenshot({ path: `${PICTURES}sign-in-forced-colors.png` });
  },

  async "nothing moves for who wants no motion"({ visitor }) {
    const { page } = visitor;
    await page.emulateMedia({ reducedMotion: "reduce" });
    await visitor.open("/reports");
    const moving = await page.evaluate(() => [...document.querySelectorAll("*")]
      .filter((part) => getComputedStyle(part).transitionDuration !== "0s" || getComputedStyle(part).animationName !== "none")
      .map((part) => part.outerHTML));
    assert.deepEqual(moving, []);
  },

  async "the mail on a phone and on a desk"({ visitor }) {
    const { page } = visitor;
    const { html } = await visitor.askForMail();
    assert.ok(html.length < 30 * 1024, `${html.length}`);
    await visitor.open("/.linkgate/mailbox");
    await page.locator("ol.mails h2 a").first().click();
    await page.waitForURL("**/.linkgate/mailbox/*");
    await visitor.open(`${page.url()}/html`);
    await mkdir(PICTURES, { recursive: true });
    for (const [device, width] of [["phone", 320], ["desk", 1280]]) {
      await page.setViewportSize({ width, height: 800 });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${device} scrolls ${overflow}`);
        await page.screenshot({ path: `${PICTURES}mail-${device}-${colorScheme}.png`, fullPage: true });
      }
    }
  },

  async "new mail shows up in the mailbox by itself, is said, and takes nobody's place"({ visit, gateOf }) {
    const gate = await gateOf("mailing");
    const first = await visit({}, gate);
    await first.askForMail();
    const reader = await visit({ permissions: ["clipboard-read", "clipboard-write"] }, gate);
    const { page } = reader;
    // The page's own clock; the gateway's goes on as it does.
    await page.clock.install();
    await reader.open("/.linkgate/mailbox");
    const mailTo = ({ address }) => page.locator("[data-mail]").filter({ hasText: address });
    await mailTo(first).getByRole("link", { name: "Open link" }).focus();
    const second = await visit({}, gate);
    const { link } = await second.askForMail();
    await until("the mail in the list", async () => {
      await page.clock.runFor(3_000);
      return mailTo(second).count();
    });
    assert.ok((await page.locator("[data-mail]").first().innerText()).includes(second.address));
    assert.match(await page.locator("[role=status] [data-say]").textContent(), /^New: Sign in to Example Wiki/);
    assert.equal(await page.evaluate(() => document.activeElement.closest("li").innerText.match(/ada\d+/)[0]),
      first.address.split("@")[0]);
    await mailTo(second).getByRole("button", { name: "Copy link" }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), link);
    assert.equal(await mailTo(second).count(), 1);
  },

  async "the mailbox lets sending fail, without script, and visitors see what they would"({ visit, gateOf }) {
    const gate = await gateOf("mailing");
    const developer = await visit({ script: false }, gate);
    const choose = async (from, to) => {
      await developer.open("/.linkgate/mailbox");
      const details = developer.page.locator("details");
      if (!(await details.evaluate((element) => element.open))) await details.locator("summary").click();
      assert.ok(await developer.page.getByLabel(from).isChecked());
      await developer.page.getByLabel(to).check();
      await developer.press("Use this");
      await developer.page.locator("summary").filter({ hasText: to }).waitFor();
    };
    await choose("Mail arrives at once", "Sending fails");
    const visitor = await visit({}, gate);
    await visitor.open("/reports");
    await visitor.type(visitor.address);
    assert.equal(await visitor.heading(), "Sign-in is not available just now");
    await choose("Sending fails", "Mail arrives at once");
    await visitor.signIn();
  },

  async "the number that the waiting page shows lets it in from another device"({ visit, gateOf }) {
    const gate = await gateOf("matching");
    const waiting = await visit({}, gate);
    const { link } = await waiting.askForMail();
    const number = await waiting.page.locator("[data-number] .number").innerText();
    const phone = await visit({ viewport: { width: 375, height: 667 }, hasTouch: true }, gate);
    await phone.open(link);
    await phone.press("Continue");
    assert.equal(await phone.heading(), "Which number is shown where you started?");
    await phone.press(number);
    await phone.page.waitForURL("**/.linkgate/sign-in/number*");
    assert.equal(await phone.heading(), "Go back to the device where you started");
    await waiting.page.waitForURL("**/reports");
    await phone.open("/reports");
    assert.equal(await phone.heading(), "Sign in to Example Wiki");
  },

  async "whom a page refuses asks its owner, who lets them in from the mail"({ visit, gateOf }) {
    const gate = await gateOf("owned");
    const visitor = await visit({}, gate);
    await visitor.signIn();
    const { path, owner: address } = ownedBy(visitor.number);
    await visitor.open(path);
    await visitor.press("Ask for access");
    await visitor.page.waitForURL("**/.linkgate/access?**");
    const mail = await gate.request(address, visitor.address);
    const owner = await visit({ viewport: { width: 375, height: 667 }, hasTouch: true }, gate);
    owner.address = address;
    await owner.open(mail.link);
    assert.equal(await owner.heading(), "Sign in to Example Wiki");
    await owner.signInAgain();
    await owner.open(mail.link);
    assert.ok(await owner.page.getByLabel("For an hour", { exact: true }).isChecked());
    await owner.press("Answer");
    await owner.page.getByText("may open").waitFor();
    await visitor.follow("Check again");
    await visitor.page.waitForURL(`**${path}`);
    assert.match(await visitor.heading(), /^Hello/);
  },

  async "signing out everywhere else leaves this browser signed in"({ visit, gateOf }) {
    const gate = await gateOf("owned");
    const here = await visit({}, gate);
    await here.signIn();
    const there = await here.other();
    await there.signInAgain();
    await here.open("/.linkgate/account");
    await here.press("Sign out everywhere else");
    await here.page.getByRole("button", { name: "Sign out everywhere else" }).waitFor({ state: "detached" });
    await there.open("/reports");
    assert.equal(await there.heading(), "Sign in to Example Wiki");
    await here.open("/reports");
    assert.match(await here.heading(), /^Hello/);
  },

  async "a browser that keeps no cookies is told so"({ gate }) {
    const profile = await mkdtemp(join(tmpdir(), "linkgate-profile-"));
    const settings = { profile: { default_content_setting_values: { cookies: 2 } } };
    await mkdir(join(profile, "Default"));
    await writeFile(join(profile, "Default", "Preferences"), JSON.stringify(settings));
    const context = await launchWith(profile, { baseURL: gate.origin });
    const visitor = await new Visitor(null, gate, context, true).begin();
    try {
      await visitor.open("/reports");
      await visitor.type(visitor.address);
      assert.equal(await visitor.heading(), "Your browser isn't keeping our cookie");
      await visitor.follow("Try again");
      await visitor.page.waitForURL("**/.linkgate/sign-in?return_to=%2Freports");
      assert.equal(await gate.newest(visitor.address), null);
    } finally {
      await visitor.leave();
      await rm(profile, { recursive: true, force: true });
    }
  },
};
