// Somebody with a browser of their own: what they do, and what is noted of it meanwhile.

import { until } from "./gate.js";

let visitors = 0;

/** A fresh browser profile at `gate`; without `script`, scripts do not run in it. */
export async function visit(browser, gate, { script = true, ...options } = {}) {
  const context = await browser.newContext({
    baseURL: gate.origin,
    javaScriptEnabled: script,
    viewport: { width: 1280, height: 800 },
    colorScheme: "light",
    locale: "en-US",
    ...options,
  });
  return new Visitor(browser, gate, context, script).begin();
}

export class Visitor {
  constructor(browser, gate, context, script) {
    Object.assign(this, { browser, gate, context, script });
    visitors += 1;
    this.number = visitors;
    this.address = `ada${visitors}@example.com`;
    this.problems = [];
    this.sizes = new Map();
    this.others = [];
  }

  async begin() {
    this.context.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      const isOurs = origin === this.gate.origin || protocol === "data:";
      if (!isOurs && !this.elsewhere) this.problems.push(`a request left the origin: ${request.url()}`);
    });
    this.context.on("response", (response) => {
      if (response.status() < 300 || response.status() > 399) {
        this.sizes.set(response.url(), response.body().then((body) => body.length, () => 0));
      }
    });
    this.context.on("console", (message) => {
      // Browsers say so of every page whose status is not 200, and where the waiting page asks whether it is over.
      const isStatus = message.text().startsWith("Failed to load resource: the server responded with a status of");
      const { url } = message.location();
      const isMeant = url === message.page()?.url() || new URL(url, this.gate.origin).pathname === "/.linkgate/session";
      if (message.type() === "error" && !(isStatus && isMeant)) {
        this.problems.push(`the console says: ${message.text()} (${message.location().url})`);
      }
    });
    this.context.on("weberror", (error) => this.problems.push(`a script failed: ${error.error()}`));
    await this.context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    this.page = await this.context.newPage();
    return this;
  }

  /** Another tab of the same browser, which is the one in use from now on. */
  async openTab() {
    this.page = await this.context.newPage();
    return this.page;
  }

  /** A tab where scripts run, outside of this browser's profile. */
  async openCopy() {
    const copy = await visit(this.browser, this.gate);
    this.others.push(copy);
    return copy.page;
  }

  /** Another browser of the same person. */
  async other(options = {}) {
    const other = await visit(this.browser, this.gate, { script: this.script, ...options });
    other.address = this.address;
    this.others.push(other);
    return other;
  }

  open(target) {
    return this.page.goto(target, { waitUntil: "load" });
  }

  heading() {
    return this.page.locator("h1").innerText();
  }

  press(name) {
    return this.page.getByRole("button", { name, exact: true }).click();
  }

  follow(name) {
    return this.page.getByRole("link", { name, exact: true }).click();
  }

  async type(address) {
    await this.page.locator("#email").fill(address);
    await this.press("Email me a sign-in link");
  }

  /** Asks for a link on the way to `target`. */
  async ask(target = "/reports") {
    await this.open(target);
    await this.type(this.address);
    await this.page.waitForURL("**/.linkgate/sign-in/sent");
  }

  /** Asks, and gives the mail. */
  async askForMail(target) {
    await this.ask(target);
    return this.gate.mail(this.address);
  }

  async signIn(target = "/reports") {
    const { link } = await this.askForMail(target);
    await this.open(link);
    await this.press("Continue");
    await this.page.waitForURL(`**${target}`);
  }

  /** Signs in once this address may be sent another link. */
  async signInAgain() {
    const known = await this.gate.newest(this.address);
    const { link } = await until("another link", async () => {
      await this.ask();
      const mail = await this.gate.newest(this.address);
      return mail?.link?.includes("/.linkgate/link") && mail.link !== known?.link ? mail : null;
    });
    await this.open(link);
    await this.press("Continue");
    await this.page.waitForURL("**/reports");
  }

  /** Signs in, and gives the address of the callback that did it. */
  async signInKeepingCallback() {
    const callback = this.page.waitForRequest(/\/callback\?/);
    await this.signIn();
    return (await callback).url();
  }

  async leave() {
    await Promise.all(this.others.map((other) => other.leave()));
    await this.context.close();
  }
}
