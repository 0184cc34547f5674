import { createAddress, epikIn, pageOf } from "./address.js";
import { idOf, objectOf, textOf } from "./arguments.js";
import { allowsStorage, watchConsentTools } from "./consent.js";
import { copy } from "./json.js";
import { debug, guarded } from "./log.js";
import { createSender } from "./sender.js";
import { trim } from "./size.js";
import { createStore } from "./storage.js";

export const VERSION = "1.1.0";
const PAGE_FIELDS = ["url", "path", "referrer", "title", "search"];
const CONSENT_WAIT_SECONDS = 600;

/**
 * Create a client that sends to one source.
 *
 * `settings`: `key` and `endpoint` (the URL of `/v1/batch`), `suffix` (added to the names in the browser's storage),
 * `consent` ("wait" holds events until consent is known), `consentSeconds`, `consentTools` ("off"), `pageViews`
 * ("manual"), `queryViews` ("on").
 */
export function createClient(settings) {
  const store = createStore("_df_queue" + settings.suffix, "_df_epik" + settings.suffix);
  const isolated = self.origin === "null";
  const sender = createSender(settings.endpoint, settings.key, store, () => allowsStorage(consent),
    // A page in a sandboxed frame has no cookies.
    isolated ? "omit" : "include", applyDefault);
  const address = createAddress(settings.queryViews === "on");
  const landingEpik = address.ownEpik;
  const toolAnswers = {};
  let consent, defaultConsent, isConsentStated = false, userId, restored = false, waits = false;
  let pageFields = {}, lastView, started = false;

  function track(name, properties) {
    const event = textOf(name, "the event's name");
    if (!event) return debug("track needs an event's name");
    enqueue("track", { event: event, properties: objectOf(properties, "properties") });
  }

  /** Send a page view, unless the same page was the last one. `page(name, fields)` and `page(fields)` are the same. */
  function page(name, fields) {
    const given = objectOf(typeof name === "string" ? fields : name, "the page's fields") || {};
    // Until the first page view, the address is that of the landing page.
    if (started) address.moved();
    const properties = copy(given);
    pageFields = {};
    PAGE_FIELDS.forEach((field) => {
      if (typeof given[field] === "string") pageFields[field] = given[field];
      delete properties[field];
    });
    const view = pageOf(pageFields.url || address.href()) + " " + (pageFields.title || "");
    if (view === lastView) return;
    lastView = view;
    enqueue("page", {
      name: textOf(typeof name === "string" ? name : undefined),
      properties: Object.keys(properties).length ? properties : undefined,
    });
  }

  function identify(id, traits) {
    // A user id of null signs the visitor out.
    if (id === null && !traits) return reset();
    const known = aboutWhom(id, traits);
    if (!known) return debug("identify needs a user id or traits");
    userId = known.id || userId;
    enqueue("identify", { traits: known.traits });
  }

  function reset() {
    userId = undefined;
    enqueue("identify", { userId: null });
  }

  function group(id, traits) {
    const known = aboutWhom(id, traits);
    if (!known) return debug("group needs a group id or traits");
    enqueue("group", { groupId: known.id, traits: known.traits });
  }

  function aboutWhom(id, traits) {
    const onlyTraits = id !== null && typeof id === "object" && traits === undefined;
    const known = {
      id: onlyTraits ? undefined : idOf(id),
      traits: objectOf(onlyTraits ? id : traits, "traits"),
    };
    return known.id || known.traits ? known : undefined;
  }

  // Waiting events without consent information get it, too: the page view of a moment ago, for example.
  function setConsent(categories) {
    const stated = objectOf(categories, "consent categories");
    if (!stated) return;
    isConsentStated = true;
    applyConsent(stated, true);
  }

  function applyConsent(stated, answered) {
    consent = stated;
    sender.each((event) => {
      event.context.consent = event.context.consent || consent;
    });
    if (allowsStorage(consent)) restore();
    else store.clear();
    if (answered) endWait();
  }

  // What the page states itself counts before the tools; of several tools, the strictest answer counts.
  function hearTool(tool, categories, answered) {
    toolAnswers[tool] = categories;
    if (isConsentStated) return;
    const stated = {};
    Object.keys(toolAnswers).forEach((name) => {
      Object.keys(toolAnswers[name]).forEach((category) => {
        stated[category] = stated[category] !== false && toolAnswers[name][category];
      });
    });
    // Events that wait for the visitor's answer get a tool's default only when the wait ends without one.
    defaultConsent = answered ? undefined : stated;
    if (answered || !waits) applyConsent(stated, answered);
  }

  function applyDefault() {
    if (waits && defaultConsent) applyConsent(defaultConsent, false);
  }

  function startWait() {
    waits = true;
    sender.hold();
    setTimeout(guarded(endWait), (Number(settings.consentSeconds) || CONSENT_WAIT_SECONDS) * 1000);
  }

  function endWait() {
    if (!waits) return;
    applyDefault();
    waits = false;
    sender.release();
  }

  function restore() {
    address.setEpik(store.rememberEpik(address.epik()));
    if (restored) return;
    restored = true;
    sender.restore();
  }

  // The click id of the visit's first page goes along with its later ones.
  function urlWithEpik(href) {
    const epik = address.epik();
    if (!epik || epikIn(href) || !(allowsStorage(consent) || epik === landingEpik)) return href;
    const url = new URL(href);
    url.search += (url.search ? "&" : "?") + "epik=" + epik;
    return url.href;
  }

  function context() {
    const href = pageFields.url || address.href();
    let parts = location;
    try {
      parts = new URL(href, location.href);
    } catch (error) {
      debug("the page's url is not a URL", error);
    }
    return {
      page: Object.assign({
        url: pageFields.url || urlWithEpik(href),
        path: parts.pathname,
        referrer: address.referrer(),
        title: document.title,
        search: parts.search,
      }, pageFields),
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      consent: consent,
      gpc: navigator.globalPrivacyControl === true || undefined,
      library: { name: "datafly.js", version: VERSION },
    };
  }

  function viewIfMoved() {
    if (!started || !address.moved()) return;
    pageFields = {};
    if (settings.pageViews !== "manual") page();
  }

  // Only a secure page has randomUUID.
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));
  }

  function enqueue(type, fields) {
    if (type !== "page") viewIfMoved();
    sender.add(trim(copy(Object.assign({
      type: type,
      messageId: uuid(),
      timestamp: new Date().toISOString(),
      userId: userId,
      context: context(),
    }, fields))));
  }

  /** Start to watch the page; the calls made before count for the first page view. */
  function start() {
    const automatic = settings.pageViews !== "manual";
    if (settings.consent === "wait" && !consent) startWait();
    if (settings.consentTools !== "off") guarded(watchConsentTools)(hearTool);
    guarded(address.watch)(viewIfMoved);
    // Back and forward may show a page as it was left, without loading it again.
    addEventListener("pageshow", guarded((event) => {
      if (!event.persisted || !automatic) return;
      lastView = undefined;
      page();
    }));
    // A page that is prepared in the background may never be seen.
    if (document.prerendering) {
      sender.hold();
      document.addEventListener("prerenderingchange", guarded(() => {
        if (automatic) page();
        sender.release();
      }), { once: true });
    } else if (automatic) {
      page();
    }
    started = true;
    // The address may have changed since the page was loaded.
    viewIfMoved();
  }

  return {
    calls: { track: track, page: page, identify: identify, group: group, consent: setConsent, reset: reset },
    start: start,
  };
}
