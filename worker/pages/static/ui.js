// Every page works without this: it only saves reloading and clicking.
"use strict";

// Fetch a part of a page anew, every so many seconds, while somebody can see it.
for (const part of document.querySelectorAll("[data-refresh]")) {
  const note = document.querySelector("[data-refresh-note]");
  const refresh = async () => {
    // Nobody loses what they have just marked to copy it.
    const marked = getSelection();
    if (document.hidden || part.contains(document.activeElement)) return;
    if (!marked.isCollapsed && part.contains(marked.anchorNode)) return;
    try {
      const answer = await fetch(part.dataset.refresh, { headers: { "X-Part": "1" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
      part.innerHTML = await answer.text();
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (note) note.textContent = "Refreshes automatically.";
    } catch {
      if (note) note.textContent = "Refresh failed. Reload the page; you may have to sign in again.";
    }
  };
  setInterval(refresh, Number(part.dataset.every) * 1000);
}

// Tick every box of a list at once.
for (const all of document.querySelectorAll("[data-tick-all]")) {
  all.hidden = false;
  const boxes = () => document.querySelectorAll(`input[name="${all.dataset.tickAll}"]`);
  all.addEventListener("click", () => {
    const tick = [...boxes()].some((box) => !box.checked);
    for (const box of boxes()) box.checked = tick;
  });
}

// Copy what stands in another element.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// Go back to the form that was refused, with all that stands in it.
for (const button of document.querySelectorAll("[data-back]")) {
  if (history.length < 2) continue;
  button.hidden = false;
  button.addEventListener("click", () => history.back());
}

// What was just done is not done again, nor said again, when the page is loaded anew.
const address = new URL(document.querySelector("main").dataset.address ?? location.href, location.href);
address.searchParams.delete("done");
if (address.href !== location.href) history.replaceState(null, "", address);

// Go on with the next step of a long piece of work.
document.querySelector("form[data-go-on]")?.submit();
