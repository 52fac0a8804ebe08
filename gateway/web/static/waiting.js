// Asks how far the start is until the notebook is ready, then opens it. Polling with jitter
// keeps ten frames of one page from asking at the same moment.
"use strict";
const box = document.getElementById("waiting");
const slug = encodeURIComponent(box.dataset.slug);
const step = document.getElementById("step");
const reason = document.getElementById("reason");
const again = document.getElementById("again");

function show(status) {
  const queued = status.phase === "queued" && status.position > 0;
  step.textContent = queued ? `${status.step} (number ${status.position})` : status.step;
  reason.textContent = status.reason;
  const failed = status.phase === "failed";
  box.dataset.failed = String(failed);
  again.hidden = !failed;
  if (status.phase === "ready" || status.phase === "cold") location.reload();
  else if (!failed) setTimeout(poll, 250 + Math.random() * 250);
}

async function poll() {
  try {
    const answer = await fetch(`/gateway/status/${slug}`, { cache: "no-store" });
    if (!answer.ok) return location.reload();
    show(await answer.json());
  } catch {
    step.textContent = "The gateway does not answer; trying again";
    setTimeout(poll, 2000 + Math.random() * 1000);
  }
}

again.addEventListener("click", async () => {
  again.hidden = true;
  await fetch(`/gateway/start/${slug}`, { method: "POST" });
  poll();
});
poll();
