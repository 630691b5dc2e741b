// Every page that people can see, and what they do to see it. The numbers are those of the list of pages that the
// product is to have.

import { IDLE_TIMEOUT_MS, ownedBy, UNSIGNABLE, until } from "./gate.js";

const wrongCode = async (visitor) => {
  await visitor.page.getByText("Enter a code instead").click();
  await visitor.page.locator("#code").fill("000000");
  await visitor.press("Sign in");
};

/** Presses until the pause between two mails is over: without script nothing says when that is. */
const sendAgain = async (visitor) => {
  const button = visitor.page.getByRole("button", { name: "Send again", exact: true });
  await until("another mail", async () => {
    if (await visitor.page.getByText(/We sent another|several emails/).count()) return true;
    if (await button.isDisabled()) return false;
    await Promise.all([visitor.page.waitForEvent("load"), button.click()]);
    return false;
  });
};

/** Opens the link that another browser asked for, and gives that browser and the number it shows. */
const openOtherDevices = async (visitor) => {
  const waiting = await visitor.other();
  const { link } = await waiting.askForMail();
  const number = await waiting.page.locator("[data-number] .number").innerText();
  await visitor.open(link);
  await visitor.press("Continue");
  return { waiting, number };
};

const chooseWrong = async (visitor, number) => {
  const offered = await visitor.page.locator("[name=number]").allInnerTexts();
  await visitor.press(offered.find((other) => other !== number));
};

export const askForAccess = async (visitor) => {
  await visitor.signIn();
  await visitor.open(ownedBy(visitor.number).path);
  await visitor.press("Ask for access");
  await visitor.page.waitForURL("**/.linkgate/access?**");
};

/** Signs in as the owner whom somebody else asks, and opens the request from the mail. */
const openRequest = async (visitor) => {
  const asking = await visitor.other();
  await askForAccess(asking);
  const { owner } = ownedBy(asking.number);
  const { link } = await visitor.gate.request(owner, asking.address);
  visitor.address = owner;
  await visitor.signInAgain();
  await visitor.open(link);
};

const answerRequest = async (visitor, answer) => {
  await openRequest(visitor);
  await visitor.page.getByLabel(answer, { exact: true }).check();
  await visitor.press("Answer");
};

/** Has the same browser be somebody else by way of another tab; the first one stays as it is. */
const openAsAnother = async (visitor, act) => {
  const { page } = visitor;
  await visitor.openTab();
  await visitor.context.clearCookies();
  await act();
  await visitor.page.close();
  visitor.page = page;
};

const openMail = async (visitor) => {
  await visitor.askForMail();
  await visitor.open("/.linkgate/mailbox");
  await visitor.page.locator("ol.mails h2 a").first().click();
};

const overSession = async (visitor, isOver) => {
  await visitor.signIn();
  await until("the session's end", () => isOver(visitor));
  await visitor.open("/reports");
};

/** Whether a session has ended by itself. The store hears of a use up to a tenth of the timeout late, or not at all. */
const restsLongEnough = () => {
  let gone;
  return async ({ gate, address }) => {
    if (await gate.sessions(address)) return false;
    gone ??= performance.now();
    return performance.now() - gone > IDLE_TIMEOUT_MS / 4;
  };
};

export const STATES = [
  {
    number: 1, name: "sign-in", heading: "Sign in to Example Wiki",
    reach: (visitor) => visitor.open("/reports"),
  },
  {
    number: 1, name: "sign-in-empty", heading: "Sign in to Example Wiki", title: "Error: Sign in to Example Wiki",
    reach: async (visitor) => {
      await visitor.open("/reports");
      await visitor.type("");
    },
  },
  {
    number: 1, name: "sign-in-incomplete", heading: "Sign in to Example Wiki", title: "Error: Sign in to Example Wiki",
    reach: async (visitor) => {
      await visitor.open("/reports");
      await visitor.type("ada@");
    },
  },
  {
    number: 2, name: "check-email", heading: "Check your email",
    reach: async (visitor) => {
      visitor.address = visitor.address.replace("example.com", "gmail.com");
      await visitor.ask();
    },
  },
  {
    number: 2, name: "check-email-typo", heading: "Check your email",
    reach: async (visitor) => {
      visitor.address = visitor.address.replace("example.com", "gmial.com");
      await visitor.ask();
    },
  },
  {
    number: 2, name: "check-email-sent-again", heading: "Check your email",
    reach: async (visitor) => {
      await visitor.ask();
      await sendAgain(visitor);
    },
  },
  {
    number: 2, name: "check-email-limit", heading: "Check your email", kind: "scarce",
    reach: async (visitor) => {
      await visitor.ask();
      await sendAgain(visitor);
    },
  },
  {
    number: 2, name: "check-email-wrong-code", heading: "Check your email", title: "Error: Check your email",
    reach: async (visitor) => {
      await visitor.ask();
      await wrongCode(visitor);
    },
  },
  {
    number: 2, name: "check-email-code-locked", heading: "Too many wrong codes",
    reach: async (visitor) => {
      await visitor.ask();
      for (let tries = 0; (await visitor.heading()) === "Check your email" && tries < 7; tries += 1) {
        const details = visitor.page.locator("details").filter({ hasText: "Enter a code instead" });
        if (!(await details.evaluate((element) => element.open))) await details.locator("summary").click();
        await visitor.page.locator("#code").fill("000000");
        await Promise.all([visitor.page.waitForEvent("load"), visitor.press("Sign in")]);
      }
    },
  },
  {
    number: 3, name: "link-expired", heading: "This link has expired",
    // As Mosaic answers for a link whose time is over.
    reach: async (visitor) => {
      const { link } = await visitor.askForMail();
      const { origin, pathname, searchParams } = new URL(link);
      const form = { token: searchParams.get("token") };
      const answer = await visitor.context.request.post(`${origin}${pathname}`, { form, maxRedirects: 0 });
      const callback = new URL(answer.headers().location);
      await visitor.open(`/.linkgate/callback?error=expired&state=${callback.searchParams.get("state")}`);
    },
  },
  {
    number: 3, name: "link-expired-elsewhere", heading: "This link has expired",
    reach: (visitor) => visitor.open(`/.linkgate/callback?code=code&state=${"A".repeat(43)}`),
  },
  {
    number: 4, name: "link-used", heading: "This link was already used",
    reach: async (visitor) => {
      const callback = await visitor.signInKeepingCallback();
      await visitor.open("/.linkgate/sign-out");
      await visitor.press("Sign out");
      await visitor.open(callback);
    },
  },
  {
    number: 5, name: "newer-email", heading: "There's a newer email",
    reach: async (visitor) => {
      const first = await visitor.askForMail();
      await sendAgain(visitor);
      await visitor.gate.mail(visitor.address, first);
      await visitor.open(first.link);
      await visitor.press("Continue");
    },
  },
  {
    number: 6, name: "other-browser", heading: "Open this link where you started",
    reach: async (visitor) => {
      const other = await visitor.other();
      const { link } = await other.askForMail();
      await visitor.open(link);
      await visitor.press("Continue");
    },
  },
  {
    number: 6, name: "check-email-number", heading: "Check your email", text: "Choose this number there", kind: "matching",
    reach: (visitor) => visitor.ask(),
  },
  {
    number: 6, name: "choose-number", heading: "Which number is shown where you started?", kind: "matching",
    reach: openOtherDevices,
  },
  {
    number: 6, name: "number-chosen", heading: "Go back to the device where you started", kind: "matching",
    reach: async (visitor) => {
      const { number } = await openOtherDevices(visitor);
      await visitor.press(number);
    },
  },
  {
    number: 6, name: "number-wrong", heading: "That wasn't the number", kind: "matching",
    reach: async (visitor) => {
      const { number } = await openOtherDevices(visitor);
      await chooseWrong(visitor, number);
    },
  },
  {
    number: 6, name: "sign-in-stopped", heading: "This sign-in was stopped", kind: "matching",
    reach: async (visitor) => {
      const device = await visitor.other();
      const { link } = await visitor.askForMail();
      const number = await visitor.page.locator("[data-number] .number").innerText();
      await device.open(link);
      await device.press("Continue");
      await chooseWrong(device, number);
      await device.page.waitForURL("**/.linkgate/sign-in/number*");
      await visitor.open("/.linkgate/sign-in/sent");
    },
  },
  {
    number: 7, name: "link", heading: "Finish signing in to Example Wiki",
    reach: async (visitor) => {
      const { link } = await visitor.askForMail();
      await visitor.open(link);
    },
  },
  {
    number: 8, name: "signed-in-elsewhere", heading: "You're signed in",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-in/sent");
    },
  },
  {
    number: 9, name: "already-signed-in", heading: "You're signed in",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-in");
    },
  },
  {
    number: 10, name: "no-access", heading: "You don't have access to Example Wiki",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/closed");
    },
  },
  {
    number: 10, name: "no-access-ask", heading: "You don't have access to Example Wiki", text: "can let you in", kind: "owned",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open(ownedBy(visitor.number).path);
    },
  },
  { name: "asked-for-access", heading: "We've asked for you", kind: "owned", reach: askForAccess },
  { name: "access-request", heading: "Someone asks for access", text: "For an hour", kind: "owned", reach: openRequest },
  {
    name: "access-request-granted", heading: "Someone asks for access", text: "let them in", kind: "owned",
    reach: (visitor) => answerRequest(visitor, "For a day"),
  },
  {
    name: "access-request-refused", heading: "Someone asks for access", text: "said no", kind: "owned",
    reach: (visitor) => answerRequest(visitor, "No"),
  },
  {
    name: "access-request-gone", heading: "This request is no more", kind: "owned",
    reach: async (visitor) => {
      visitor.address = ownedBy(visitor.number).owner;
      await visitor.signInAgain();
      await visitor.open(`/.linkgate/access/${"A".repeat(43)}`);
    },
  },
  {
    number: 11, name: "not-responding", heading: "Example Wiki is not responding",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/down");
    },
  },
  {
    number: 11, name: "too-slow", heading: "Example Wiki is not responding",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/slow");
    },
  },
  {
    number: 11, name: "our-fault", heading: "Something went wrong on our side",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open(UNSIGNABLE);
    },
  },
  {
    number: 11, name: "not-available", heading: "Example Wiki is not available just now", kind: "storeless",
    reach: async (visitor) => {
      await visitor.open("/reports");
      await visitor.type(visitor.address);
    },
  },
  {
    number: 12, name: "sign-in-unavailable", heading: "Sign-in is not available just now", kind: "alone",
    reach: (visitor) => until("the page", async () => {
      await visitor.open("/reports");
      await visitor.type(visitor.address);
      return (await visitor.heading()) === "Sign-in is not available just now";
    }),
  },
  {
    number: 13, name: "too-many-requests", heading: "Please wait a moment", kind: "crowded",
    reach: (visitor) => until("the page", async () => {
      await visitor.open("/reports");
      await visitor.type(visitor.address);
      return (await visitor.heading()) === "Please wait a moment";
    }),
  },
  {
    number: 14, name: "sign-out", heading: "Sign out of Example Wiki?",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-out");
    },
  },
  {
    number: 14, name: "signed-out", heading: "You're signed out",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-out");
      await visitor.press("Sign out");
    },
  },
  {
    number: 14, name: "signed-out-everywhere", heading: "You're signed out on all devices",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-out");
      await visitor.press("Sign out on all devices");
    },
  },
  {
    number: 15, name: "cookies-blocked", heading: "Your browser isn't keeping our cookie",
    reach: async (visitor) => {
      await visitor.open("/reports");
      await visitor.context.clearCookies();
      await visitor.type(visitor.address);
    },
  },
  {
    number: 15, name: "cookies-loop", heading: "Your browser isn't keeping our cookie",
    reach: async (visitor) => {
      for (let round = 0; round < 2; round += 1) {
        visitor.address = `${round}${visitor.address}`;
        await visitor.signIn();
        await visitor.context.clearCookies({ name: "linkgate" });
      }
      await visitor.open("/reports");
    },
  },
  {
    number: 16, name: "session-over", heading: "Sign in to Example Wiki", text: "to keep your account safe", kind: "short",
    reach: (visitor) => overSession(visitor, async ({ context }) => {
      const answer = await context.request.get("/.linkgate/session", { headers: { accept: "application/json" } });
      return answer.status() === 401;
    }),
  },
  {
    number: 16, name: "session-idle", heading: "Sign in to Example Wiki", text: "without use", kind: "idle",
    reach: (visitor) => overSession(visitor, restsLongEnough()),
  },
  {
    number: 17, name: "account", heading: "Your account",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/account");
    },
  },
  {
    number: 17, name: "account-elsewhere", heading: "Your account", text: "Sign out everywhere else",
    reach: async (visitor) => {
      const other = await visitor.other();
      await other.signIn();
      await visitor.signInAgain();
      await visitor.open("/.linkgate/account");
    },
  },
  {
    number: 18, name: "not-found", heading: "Page not found",
    reach: (visitor) => visitor.open("/.linkgate/none"),
  },
  {
    number: 18, name: "unknown-host", heading: "This address is not set up here",
    reach: async (visitor) => {
      visitor.elsewhere = true;
      await visitor.open(visitor.gate.origin.replace("localhost", "other.localhost"));
    },
  },
  {
    name: "form-renewed", heading: "Sign in to Example Wiki", text: "Press the button once more",
    reach: async (visitor) => {
      await visitor.open("/reports");
      await openAsAnother(visitor, () => visitor.open("/reports"));
      await visitor.type(visitor.address);
    },
  },
  {
    name: "stale-form", heading: "This page was open too long",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/sign-out");
      await openAsAnother(visitor, () => visitor.signInAgain());
      await visitor.press("Sign out");
    },
  },
  {
    name: "bad-request", heading: "We couldn't read that request",
    reach: (visitor) => visitor.open("/.linkgate/callback"),
  },
  {
    name: "refused", heading: "That was too large",
    reach: (visitor) => visitor.open(`/reports?${"x".repeat(17_000)}`),
  },
  {
    name: "device", heading: "Sign a terminal in",
    reach: async (visitor) => {
      await visitor.signIn();
      await visitor.open("/.linkgate/device");
    },
  },
  {
    // Where few mails were sent: this page grows with each.
    name: "mailbox", heading: "Mailbox", kind: "short",
    reach: async (visitor) => {
      await visitor.askForMail();
      await visitor.open("/.linkgate/mailbox");
    },
  },
  {
    name: "mail", heading: /^Sign in to Example Wiki/,
    reach: openMail,
  },
  ...["Phone", "Text", "Source"].map((view) => ({
    name: `mail-${view.toLowerCase()}`, heading: /^Sign in to Example Wiki/,
    reach: async (visitor) => {
      await openMail(visitor);
      await visitor.follow(view);
    },
  })),
  {
    name: "mailbox-empty", heading: "Mailbox", text: "No mail yet", kind: "mailing",
    reach: (visitor) => visitor.open("/.linkgate/mailbox"),
  },
  {
    // Where it stays so: what the page shows is of the gateway, whoever else looks at the same time.
    name: "mailbox-fails", heading: "Mailbox", text: "Whoever asks for a link is told", kind: "failing",
    reach: async (visitor) => {
      await visitor.gate.choose("fails");
      await visitor.open("/.linkgate/mailbox");
    },
  },
];
