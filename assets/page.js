// Small comforts. Every page works without them.
"use strict";

(() => {
  const page = document.documentElement;
  const status = document.querySelector("[data-say]");
  const served = Number(document.body.dataset.now) || Date.now();
  const opened = performance.now();
  // The server's time, since the visitor's clock may be wrong.
  const now = () => served + performance.now() - opened;

  // For those who listen; everybody else sees the same where it happens.
  const say = (text) => {
    if (status) status.textContent = text;
  };

  const showTimes = (part) => {
    const locale = navigator.languages.find((tag) => tag.split("-")[0] === page.lang) || page.lang;
    const hour = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
    const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
    const relative = new Intl.RelativeTimeFormat(locale);
    for (const time of part.querySelectorAll("time[datetime]")) {
      const moment = Date.parse(time.dateTime);
      const minutes = Math.round((moment - now()) / 60000);
      const today = new Date(moment).toDateString() === new Date(now()).toDateString();
      const near = minutes !== 0 && Math.abs(minutes) < 60;
      time.textContent = (today ? hour : day).format(moment) + (near ? ` (${relative.format(minutes, "minute")})` : "");
    }
  };

  // Browsers keep the fragment of the page first asked for; the form hands it on.
  const carryFragment = () => {
    const legal = /^#[\w\-.~!$&'()*+,;=:@/?%]{1,512}$/;
    if (!legal.test(location.hash)) return;
    for (const field of document.querySelectorAll("form[data-fragment] [name=return_to]")) {
      if (field.value && !field.value.includes("#")) field.value += location.hash;
    }
  };

  // A second press would send a second mail. The button goes after its form, so that its own value is sent.
  const pressOnce = () => {
    let pressed = [];
    const disable = (disabled) => pressed.forEach((button) => (button.disabled = disabled));
    document.addEventListener("submit", ({ target }) => {
      pressed = [...target.querySelectorAll("button:enabled")];
      setTimeout(disable, 0, true);
    });
    // Back in a page that the browser had kept: its buttons work again.
    addEventListener("pageshow", () => disable(false));
  };

  const waitToSendAgain = () => {
    const button = document.querySelector("button[data-wait]");
    const line = button?.parentElement.querySelector("[data-over]");
    if (!line || Number(button.dataset.wait) <= 0) return;
    const end = performance.now() + Number(button.dataset.wait) * 1000;
    const shown = () => {
      const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      return [seconds, `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`];
    };
    const tick = () => {
      const [seconds, text] = shown();
      line.textContent = seconds ? line.dataset.text.replace("{time}", text) : line.dataset.over;
      button.disabled = seconds > 0;
      if (seconds) return;
      clearInterval(timer);
      say(line.dataset.over);
    };
    const timer = setInterval(tick, 1000);
    tick();
    say(line.textContent);
  };

  const copyButtons = (part) => {
    if (!navigator.clipboard) return;
    for (const button of part.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.dataset.copy || location.href);
        button.textContent = button.dataset.copied;
        say(button.dataset.copied);
      });
    }
  };

  // The waiting page goes on by itself once sign-in was finished in another tab.
  const watchSession = () => {
    const notice = document.querySelector("[data-session]");
    if (!notice) return;
    const link = notice.querySelector("a");
    const end = opened + Number(notice.dataset.session) * 1000;
    const look = async () => {
      if (document.hidden) return;
      if (performance.now() > end) return clearInterval(timer);
      const answer = await fetch("/.linkgate/session", { headers: { accept: "application/json" } }).catch(() => null);
      if (answer?.status !== 200 || !notice.hidden) return;
      clearInterval(timer);
      notice.hidden = false;
      const text = notice.querySelector("p").textContent;
      document.title = text;
      say(text);
      setTimeout(() => location.assign(link.href), 1500);
    };
    const timer = setInterval(look, 3000);
    document.addEventListener("visibilitychange", look);
  };

  // What another device chose is for this page to go on with.
  const watchNumber = () => {
    const line = document.querySelector("[data-number]");
    if (!line) return;
    const end = opened + Number(line.dataset.number) * 1000;
    const look = async () => {
      if (document.hidden) return;
      if (performance.now() > end) return clearInterval(timer);
      const answer = await fetch("/.linkgate/sign-in/progress").catch(() => null);
      const { state = "waiting" } = (answer?.ok && (await answer.json().catch(() => null))) || {};
      if (state === "waiting") return;
      clearInterval(timer);
      location.assign("/.linkgate/sign-in/sent");
    };
    const timer = setInterval(look, 3000);
    document.addEventListener("visibilitychange", look);
  };

  showTimes(document);
  carryFragment();
  pressOnce();
  waitToSendAgain();
  copyButtons(document);
  watchSession();
  watchNumber();
  // What another script of ours put on the page.
  document.addEventListener("added", ({ target }) => {
    showTimes(target);
    copyButtons(target);
  });
})();
