// The browsers of the tests: those that the distribution has, without a window.

import { chromium } from "playwright-core";

// Containers let no program make the namespaces that its sandbox is of, and it opens pages of these tests only.
const args = ["--no-sandbox"];
const OPTIONS = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args };
const ENGINE = { executablePath: process.env.CHROMIUM_ENGINE ?? "/usr/bin/chromium-headless-shell", args };

/** One browser as people have it, for many visitors. */
export const launch = () => chromium.launch(OPTIONS);

/** What shows the pages in it, without the rest: for what is looked at only, in half the time. */
export const launchEngine = () => chromium.launch(ENGINE);

/** A browser with this profile, and what its visitor has set there. */
export const launchWith = (profile, options) => chromium.launchPersistentContext(profile, { ...OPTIONS, ...options });
