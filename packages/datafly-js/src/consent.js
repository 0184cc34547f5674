import { guarded } from "./log.js";

/**
 * Return whether consent to advertising was given, so that events and click ids may be kept in the browser.
 *
 * The collector decides the same way for its cookies; this is stricter where a consent tool is unclear.
 */
export function allowsStorage(consent) {
  if (!consent || navigator.globalPrivacyControl === true) return false;
  const sets = [consent.categories, consent.canonical].filter(Boolean);
  return (sets.length ? sets : [consent]).every((set) => {
    const answer = set.advertising === undefined ? set.marketing : set.advertising;
    return answer === true || answer === "granted" || answer === "true";
  });
}

/**
 * Listen to the consent tools of the page.
 *
 * `report(tool, categories, answered)` is called with each change. `answered` is false for a tool's default,
 * which holds until the visitor answers.
 */
export function watchConsentTools(report) {
  const watchers = [watchGoogle, watchCookiebot, watchOneTrust, watchTcf];
  // A tool may load after this script.
  const start = guarded(() => {
    for (let index = watchers.length; index--;) {
      if (watchers[index](report)) watchers.splice(index, 1);
    }
  });
  start();
  if (document.readyState !== "complete") {
    document.addEventListener("DOMContentLoaded", start);
    addEventListener("load", start);
  }
}

// Google consent mode: gtag("consent", "default" | "update", {...}) pushes its arguments to the data layer.
function watchGoogle(report) {
  const layer = window.dataLayer;
  if (!Array.isArray(layer)) return false;
  const state = {};
  let updated = false;
  const read = guarded((entry) => {
    if (!entry || entry[0] !== "consent" || !entry[2]) return;
    const isUpdate = entry[1] === "update", stated = entry[2];
    if (!isUpdate && (entry[1] !== "default" || updated)) return;
    // A default for some regions only: where the visitor is, is unknown here, so only its denials count.
    const regional = !isUpdate && stated.region;
    Object.keys(stated).forEach((key) => {
      if (!/_(storage|user_data|personalization)$/.test(key)) return;
      const granted = stated[key] === "granted";
      if (isUpdate || !regional) state[key] = granted;
      else if (!granted) state[key] = false;
    });
    updated = updated || isUpdate;
    const advertising = [state.ad_storage, state.ad_user_data, state.ad_personalization]
      .filter((answer) => answer !== undefined);
    if (!advertising.length) return;
    const granted = advertising.every(Boolean);
    report("google", {
      advertising: granted,
      analytics: state.analytics_storage === true,
      functional: state.functionality_storage === true,
    }, updated || granted);
  });
  for (let index = 0; index < layer.length; index++) read(layer[index]);
  const push = layer.push;
  layer.push = function () {
    const result = push.apply(layer, arguments);
    for (let index = 0; index < arguments.length; index++) read(arguments[index]);
    return result;
  };
  return true;
}

function watchCookiebot(report) {
  const read = guarded(() => {
    const tool = window.Cookiebot;
    if (!tool || !tool.consent || !tool.hasResponse) return;
    report("cookiebot", {
      advertising: tool.consent.marketing === true,
      analytics: tool.consent.statistics === true,
      functional: tool.consent.preferences === true,
    }, true);
  });
  ["CookiebotOnConsentReady", "CookiebotOnAccept", "CookiebotOnDecline"].forEach((name) => {
    addEventListener(name, read);
  });
  read();
  return true;
}

function watchOneTrust(report) {
  const read = guarded(() => {
    const groups = window.OnetrustActiveGroups, tool = window.OneTrust;
    if (typeof groups !== "string") return;
    const has = (id) => ("," + groups + ",").indexOf("," + id + ",") >= 0;
    const closed = tool && tool.IsAlertBoxClosed ? tool.IsAlertBoxClosed() : false;
    report("onetrust", {
      advertising: has("C0004"), analytics: has("C0002"), functional: has("C0003"),
    }, Boolean(closed));
  });
  addEventListener("OneTrustGroupsUpdated", () => setTimeout(read, 0));
  read();
  return true;
}

function watchTcf(report) {
  if (typeof window.__tcfapi !== "function") return false;
  window.__tcfapi("addEventListener", 2, guarded((data, success) => {
    if (!success || !data || data.gdprApplies === false) return;
    if (data.eventStatus !== "tcloaded" && data.eventStatus !== "useractioncomplete") return;
    const purposes = (data.purpose && data.purpose.consents) || {};
    const all = (ids) => ids.every((id) => purposes[id] === true);
    report("tcf", { advertising: all([1, 3, 4, 7]), analytics: all([1, 8, 9]) }, true);
  }));
  return true;
}
