// Shows mail on the mailbox page as it comes. Without this it is there when the page is opened again.
"use strict";

(() => {
  const list = document.querySelector("[data-mails]");
  const empty = document.querySelector("[data-empty]");
  const status = document.querySelector("[data-say]");

  const heading = (mail) => mail.querySelector("h2").textContent.trim();

  // Only what is new is put in and what is gone taken out: whoever reads or tabs through the list stays where they are.
  const show = (found) => {
    const isIn = (mails, mail) => mails.some(({ dataset }) => dataset.mail === mail.dataset.mail);
    const shown = [...list.children];
    const fresh = found.filter((mail) => !isIn(shown, mail)).map((mail) => document.importNode(mail, true));
    shown.filter((mail) => !isIn(found, mail)).forEach((mail) => mail.remove());
    list.prepend(...fresh);
    list.hidden = found.length === 0;
    empty.hidden = found.length > 0;
    fresh.forEach((mail) => mail.dispatchEvent(new Event("added", { bubbles: true })));
    if (fresh.length) status.textContent = list.dataset.text.replace("{subject}", () => heading(fresh[0]));
  };

  const look = async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href).catch(() => null);
    const text = answer?.ok && (await answer.text().catch(() => null));
    if (!text) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    show([...page.querySelectorAll("[data-mails] > li")]);
  };

  setInterval(look, 3000);
  document.addEventListener("visibilitychange", look);
})();
