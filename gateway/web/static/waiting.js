// Follows a start until the notebook is ready, then opens the very address that was asked for.
//
// Browsers open six connections to a host over HTTP/1.1, and a page may hold ten frames: so of all
// the pages of one notebook in a browser one follows the start and tells the others, and of all
// those that follow, two at most have an event stream; the rest ask now and then.
"use strict";
(() => {
  const box = document.getElementById("waiting");
  const at = (id) => document.getElementById(id);
  const slug = encodeURIComponent(box.dataset.slug);
  const title = document.title.split(" · ").slice(1).join(" · ");
  const STREAMS = ["nbgate stream 1", "nbgate stream 2"];
  const GOING = ["queued", "creating", "starting"];
  let leaving = false;
  let place = 0;
  let wake = () => {};

  const pause = (ms) => new Promise((done) => setTimeout(done, ms * (0.75 + 0.5 * Math.random())));
  const pushed = () => new Promise((done) => { wake = done; });

  // ---- showing

  function text(id, words) {
    // What has not changed is not written again: a screen reader would say it again.
    if (at(id).textContent !== words) at(id).textContent = words;
  }

  function stages(phase) {
    let done = true;
    for (const item of document.querySelectorAll("[data-stage]")) {
      const current = item.dataset.stage === phase;
      if (current) done = false;
      item.classList.toggle("done", done);
      if (current) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
  }

  function show(start) {
    const failed = start.failed && !box.classList.contains("failed");
    box.dataset.phase = start.phase;
    box.classList.toggle("failed", start.failed);
    for (const id of ["step", "detail", "reason", "log"]) text(id, start[id]);
    document.title = `${start.step} · ${title}`;
    stages(start.phase);
    if (start.progress === null) at("progress").removeAttribute("value");
    else at("progress").value = start.progress;
    at("form").hidden = !start.failed;
    at("reported").hidden = !start.reason;
    at("logged").hidden = !start.log;
    if (failed && document.hasFocus()) at("again").focus();
    place = start.position;
    if (start.phase === "ready") reopen(0);
    else if (start.phase === "cold") reopen(1500); // the gateway was started again meanwhile
    else if (start.again_in !== null) reopen(start.again_in * 1000);
  }

  // ---- opening the notebook

  function opened() {
    // How often the page was opened in vain just now: it must not be a loop without a pause.
    try {
      const [count, when] = JSON.parse(sessionStorage.getItem(`nbgate ${slug}`) ?? "[0, 0]");
      const again = Date.now() - when < 15000 ? count + 1 : 0;
      sessionStorage.setItem(`nbgate ${slug}`, JSON.stringify([again, Date.now()]));
      return again;
    } catch {
      return 2;
    }
  }

  async function reopen(after) {
    if (leaving) return;
    leaving = true;
    wake();
    if (after) await pause(after);
    else {
      const vain = opened();
      if (vain) await pause(Math.min(5000, 100 * 2 ** vain));
    }
    location.reload();
  }

  // ---- asking

  async function ask() {
    try {
      const answer = await fetch(`/gateway/status/${slug}`, { cache: "no-store" });
      if (answer.status === 503 || answer.status === 502) throw new Error("away");
      if (!answer.ok) return reopen(0); // signed out, or the notebook is gone: the page says it
      tell(await answer.json());
    } catch {
      text("step", box.dataset.away);
      await pause(2000);
    }
  }

  function follow() {
    return new Promise((done) => {
      const source = new EventSource(`/gateway/events/${slug}`);
      const end = () => { source.close(); done(); };
      source.onmessage = (event) => {
        tell(JSON.parse(event.data));
        if (!going()) end();
      };
      source.onerror = end;
    });
  }

  // ---- one for all

  let channel = null;
  try {
    channel = new BroadcastChannel(`nbgate ${slug}`);
    channel.onmessage = (event) => {
      if (event.data.again) restart();
      else show(event.data);
    };
  } catch { /* a sandboxed frame has none: it asks for itself */ }
  const shared = channel !== null && "locks" in navigator;

  function tell(start) {
    show(start);
    channel?.postMessage(start);
  }

  const going = () => GOING.includes(box.dataset.phase) && !leaving;

  async function inPlace(name, work) {
    return navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock) await work();
      return lock !== null;
    });
  }

  async function lookOnce() {
    if (shared) {
      for (const name of STREAMS) if (await inPlace(name, follow)) break;
    }
    if (going()) await ask();
    if (going()) await pause(Math.min(5000, 400 + 30 * place));
  }

  async function lead() {
    while (!leaving) {
      if (going()) await lookOnce();
      else await pushed();
    }
  }

  function begin() {
    if (!shared) return lead();
    return navigator.locks.request(`nbgate ${slug}`, lead).catch(lead);
  }

  // ---- trying again

  function restart() {
    box.classList.remove("failed");
    box.dataset.phase = "queued";
    wake();
  }

  at("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    at("again").disabled = true;
    try {
      const answer = await fetch(`/gateway/start/${slug}`, {
        method: "POST", headers: { Accept: "application/json" },
      });
      if (!answer.ok || leaving) return location.reload();
      restart();
      channel?.postMessage({ again: true });
      tell(await answer.json());
    } catch {
      text("step", box.dataset.away);
    } finally {
      at("again").disabled = false;
    }
  });

  // The page that tells the others may be in the background, where browsers hold timers up.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && going()) ask();
  });

  stages(box.dataset.phase);
  if (box.dataset.againIn) reopen(box.dataset.againIn * 1000);
  else if (box.dataset.phase === "ready") reopen(0);
  else if (box.dataset.phase === "cold") reopen(1500);
  else begin();
})();
