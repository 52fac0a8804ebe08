// While a notebook starts or stops, the list is asked for again; the focus stays where it was.
"use strict";
(() => {
  const PAUSE = 2000;
  const list = () => document.getElementById("notebooks");

  function renew(fresh) {
    const said = [];
    for (const item of fresh.querySelectorAll("li[id]")) {
      const shown = document.getElementById(item.id);
      if (!shown || shown.outerHTML === item.outerHTML) continue;
      const focused = shown.contains(document.activeElement) && document.activeElement.localName;
      shown.replaceWith(item);
      if (focused) (item.querySelector(focused) || item.querySelector("a")).focus();
      said.push(`${item.dataset.title}: ${item.querySelector(".state").textContent}`);
    }
    if (said.length) document.getElementById("told").textContent = said.join(", ");
    list().toggleAttribute("data-moving", fresh.hasAttribute("data-moving"));
  }

  async function look() {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const there = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = there.getElementById("notebooks");
      if (fresh) renew(fresh);
    } catch {
      // The gateway is away for a moment: it is asked again.
    }
    follow();
  }

  function follow() {
    if (list() && list().hasAttribute("data-moving")) setTimeout(look, PAUSE);
  }

  follow();
})();
