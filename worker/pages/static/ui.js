// Every page works without this: it only saves reloading and clicking.
"use strict";

// Times come in UTC. They are shown in the viewer's zone, each with its offset.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "this device's zone";
const two = (number) => String(number).padStart(2, "0");
const dayOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const clockOf = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const offsetOf = (at) => {
  const minutes = -at.getTimezoneOffset(), size = Math.abs(minutes);
  return "UTC" + (size ? (minutes < 0 ? "-" : "+") + Math.floor(size / 60) + (size % 60 ? ":" + two(size % 60) : "") : "");
};
const SHOWN = {
  full: (at) => `${dayOf(at)} ${clockOf(at)}:${two(at.getSeconds())} ${offsetOf(at)}`,
  minute: (at) => `${dayOf(at)} ${clockOf(at)} ${offsetOf(at)}`,
  clock: clockOf,
  hour: (at) => `${dayOf(at).slice(5)} ${clockOf(at)}`,
  day: dayOf,
};
const showTimes = (root) => {
  for (const one of root.querySelectorAll("time[data-shown]")) {
    one.title = `${one.dateTime.slice(0, 19).replace("T", " ")} UTC`;
    one.textContent = SHOWN[one.dataset.shown](new Date(one.dateTime));
  }
  for (const one of root.querySelectorAll("[data-zone]")) one.textContent = zone;
};
showTimes(document);

// The server takes times in UTC; people read and enter them in their zone.
for (const input of document.querySelectorAll("input[data-utc]")) {
  if (input.value) {
    const at = new Date(`${input.value}Z`);
    input.value = `${dayOf(at)}T${clockOf(at)}`;
  }
  input.form.addEventListener("formdata", (event) => {
    if (input.value) event.formData.set(input.name, new Date(input.value).toISOString().slice(0, 16));
  });
}

// Views of a day: the server knows only days in UTC.
for (const view of document.querySelectorAll("a[data-days]")) {
  const url = new URL(view.href), now = new Date(), shown = new URLSearchParams(location.search);
  for (const [name, days] of [["since", view.dataset.days], ["until", view.dataset.days - 1]]) {
    const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate() - days);
    if (url.searchParams.has(name)) url.searchParams.set(name, midnight.toISOString().slice(0, 16));
  }
  view.href = url;
  view.querySelector("[data-utc-only]").remove();
  if ([...url.searchParams].every(([name, value]) => shown.get(name) === value)) view.setAttribute("aria-current", "true");
  else view.removeAttribute("aria-current");
}

// A browser that cannot show the content of closed details on a wide screen opens them.
if (!CSS.supports("selector(::details-content)") && matchMedia("(min-width: 44rem)").matches) {
  for (const one of document.querySelectorAll("details.fold")) one.open = true;
}

// Read the values of a chart by pointer, or by the arrow keys while it has the focus.
const HOW = "Point at the chart, or use the arrow keys in it, to read its values.";
const MOVES = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
const readCharts = (root) => {
  for (const plot of root.querySelectorAll("[data-chart]")) {
    const columns = [...plot.querySelectorAll(".column")], readout = plot.nextElementSibling;
    const texts = columns.map(({ dataset }) => (dataset.at ? `${SHOWN.minute(new Date(dataset.at))}: ` : "") + dataset.text);
    let chosen = columns.length;
    columns.forEach((column, index) => { column.querySelector("title").textContent = texts[index]; });
    const choose = (index) => {
      columns[chosen]?.classList.remove("chosen");
      chosen = Math.min(columns.length - 1, Math.max(0, index));
      columns[chosen].classList.add("chosen");
      readout.textContent = texts[chosen];
      plot.setAttribute("aria-valuenow", chosen + 1);
      plot.setAttribute("aria-valuetext", texts[chosen]);
    };
    const initial = { role: "slider", tabindex: 0, "aria-label": plot.dataset.chart, "aria-valuemin": 1, "aria-valuemax": columns.length, "aria-valuenow": columns.length, "aria-valuetext": texts.at(-1) };
    for (const [name, value] of Object.entries(initial)) plot.setAttribute(name, value);
    readout.textContent = HOW;
    plot.addEventListener("pointerover", ({ target }) => {
      const column = target.closest(".column");
      if (column) choose(columns.indexOf(column));
    });
    plot.addEventListener("keydown", (event) => {
      if (!(event.key in MOVES)) return;
      event.preventDefault();
      choose(chosen + MOVES[event.key]);
    });
  }
};
readCharts(document);

// Fetch a part of a page again every few seconds, while it is visible.
for (const part of document.querySelectorAll("[data-refresh]")) {
  const note = document.querySelector("[data-refresh-note]");
  const refresh = async () => {
    // The viewer keeps the scroll position, and text that is marked to be copied.
    const marked = getSelection();
    if (document.hidden) return;
    const isRead = part.contains(document.activeElement) || part.querySelector(".plot:hover");
    if (isRead || (!marked.isCollapsed && part.contains(marked.anchorNode))) {
      if (note) note.textContent = "Refresh waits while you use this part. Click beside it to go on.";
      return;
    }
    try {
      const answer = await fetch(part.dataset.refresh, { headers: { "X-Part": "1" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
      part.innerHTML = await answer.text();
      showTimes(part);
      readCharts(part);
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

// A reload of the page neither repeats an action nor its confirmation.
const address = new URL(document.querySelector("main").dataset.address ?? location.href, location.href);
address.searchParams.delete("done");
if (address.href !== location.href) history.replaceState(null, "", address);

// Go on with the next step of a long piece of work.
document.querySelector("form[data-go-on]")?.submit();
