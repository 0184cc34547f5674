import { guarded } from "./log.js";

/** Return the click id in a URL, as it is written there. */
export function epikIn(url) {
  return (/[?&]epik=([^&#]+)/.exec(url) || [])[1] || "";
}

/** Return a URL without its fragment, unless the fragment is the path of a router. */
export function pageOf(url) {
  return url.replace(/#(?![!/]).*$/, "");
}

function withoutQuery(url) {
  return pageOf(url).replace(/\?[^#]*/, "");
}

/**
 * Return the URL that the browser loaded; the page may have changed its address before this script ran.
 *
 * A page that moved on to another path is another page. If it got there by replacing the address, as a router's
 * redirect does, the landing page was never shown.
 */
function landingUrl() {
  try {
    const name = performance.getEntriesByType("navigation")[0].name;
    if (new URL(name).origin !== location.origin) return location.href;
    if (name.split("#")[0] === location.href.split("#")[0]) return location.href;
    if (withoutQuery(name.split("#")[0]) === withoutQuery(location.href.split("#")[0])) return name;
    const entries = window.navigation.entries().filter((entry) => entry.sameDocument);
    return entries.length > 1 ? name : location.href;
  } catch (error) {
    return location.href;
  }
}

function landingEpik() {
  try {
    return epikIn(performance.getEntriesByType("navigation")[0].name);
  } catch (error) {
    return "";
  }
}

/** Follow the address of the page. `countQueries` makes a replaced query another page. */
export function createAddress(countQueries) {
  let href = landingUrl();
  let referrer = document.referrer;
  let replaced = true;
  const ownEpik = epikIn(href) || landingEpik();
  // A page of this site that led here may be the landing page, whose visitor consents only now.
  let epik = ownEpik || (referrer.startsWith(location.origin + "/") ? epikIn(referrer) : "");

  /** Return whether the page's address became another page's since the last call. */
  function moved() {
    const before = href, only = replaced && !countQueries;
    replaced = true;
    const same = only ? withoutQuery : pageOf;
    if (location.href === before) return false;
    href = location.href;
    epik = epikIn(href) || epik;
    if (same(href) === same(before)) return false;
    referrer = before;
    return true;
  }

  return {
    moved: moved,
    ownEpik: ownEpik,
    href: () => href,
    referrer: () => referrer,
    epik: () => epik,
    setEpik: (value) => {
      epik = value;
    },
    /** Call `look` after each change of the address. Routers change the address before the title. */
    watch: (look) => {
      const soon = (isReplaced) => {
        replaced = replaced && isReplaced;
        setTimeout(guarded(look), 0);
      };
      if (window.navigation && navigation.addEventListener) {
        navigation.addEventListener("currententrychange", guarded((event) => soon(event.navigationType === "replace")));
        return;
      }
      ["pushState", "replaceState"].forEach((name) => {
        const original = history[name];
        history[name] = function () {
          const result = original.apply(this, arguments);
          soon(name === "replaceState");
          return result;
        };
      });
      addEventListener("popstate", () => soon(false));
    },
  };
}
