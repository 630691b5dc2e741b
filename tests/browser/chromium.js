// The browser of the tests: the one that the distribution has, without a window.

import { chromium } from "playwright-core";

// Containers let no program make the namespaces that its sandbox is of, and it opens pages of these tests only.
const OPTIONS = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] };

/** One browser, for many visitors. */
export const launch = () => chromium.launch(OPTIONS);

/** A browser with this profile, and what its visitor has set there. */
export const launchWith = (profile, options) => chromium.launchPersistentContext(profile, { ...OPTIONS, ...options });
