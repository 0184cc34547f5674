// What a shop does with Datafly.js: the stub, consent, and a call for what happens.
"use strict";

// Calls made before Datafly.js has loaded are kept.
window._df = window._df || { q: [] };
["track", "page", "identify", "group", "consent", "reset"].forEach(function (name) {
  _df[name] = _df[name] || function () { _df.q.push([name].concat([].slice.call(arguments))); };
});

const CHOICE = "shop_consent";

// The shop's own consent tool. A visitor's choice is said on every page, before anything else.
function sayConsent(choice) {
  _df.consent({ advertising: choice === "granted", analytics: choice === "granted" });
}

const chosen = localStorage.getItem(CHOICE);
if (chosen) sayConsent(chosen);

function track(element) {
  if (!element.dataset.event) return;
  const event = JSON.parse(element.dataset.event);
  _df.track(event.name, event.properties);
}

document.addEventListener("DOMContentLoaded", function () {
  const banner = document.getElementById("banner");
  const checkout = document.getElementById("checkout");

  banner.hidden = Boolean(chosen);
  document.getElementById("ask").addEventListener("click", function () { banner.hidden = false; });
  banner.querySelectorAll("[data-consent]").forEach(function (button) {
    button.addEventListener("click", function () {
      localStorage.setItem(CHOICE, button.dataset.consent);
      sayConsent(button.dataset.consent);
      banner.hidden = true;
    });
  });

  track(document.body);
  document.querySelectorAll("a[data-event]").forEach(function (link) {
    link.addEventListener("click", function () { track(link); });
  });
  if (checkout) checkout.addEventListener("submit", function () {
    const email = document.getElementById("email").value.trim();
    if (email) _df.identify({ email: email });
  });
});
