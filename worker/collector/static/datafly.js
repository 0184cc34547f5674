/*! Datafly.js 1.0.0 */
// Sends what happens on a page to the collector that this script came from.
//
//   <script async src="https://data.example.com/d.js" data-pipeline-key="dk_live_…"></script>
//
// Before that tag, for pages that call _df before the script has loaded:
//
//   <script>
//     window._df = window._df || {q: []};
//     ["track", "page", "identify", "group", "consent", "reset"].forEach(function (name) {
//       _df[name] = _df[name] || function () { _df.q.push([name].concat([].slice.call(arguments))); };
//     });
//   </script>
//
// Comments stand on lines of their own, and no text spans lines: the collector serves this without them.
(function () {
  "use strict";

  const VERSION = "1.0.0";
  const BATCH_MOST_EVENTS = 10;
  const BATCH_MS = 1000;
  // Browsers let keepalive requests and beacons hold 64 KB at a time, and the collector takes 64 KB an event.
  const BODY_MOST_BYTES = 60000;
  const SENT_AT_BYTES = 40;
  const ANSWER_MS = 30000;
  const BACKOFF_FIRST_MS = 1000;
  const BACKOFF_MOST_MS = 300000;
  const RETRY_AFTER_MOST_MS = 3600000;
  const KEPT_MOST_EVENTS = 1000;
  const KEPT_MOST_BYTES = 1000000;
  // Short of the seven days after which an event is stale.
  const KEPT_MOST_MS = 6 * 86400000;
  const QUEUE_ITEM = "_df_queue";
  const EPIK_ITEM = "_df_epik";
  // These will be the same answer next time; everything else may pass.
  const REFUSED_FOR_GOOD = [400, 401, 413, 415];

  let key, endpoint;
  let consent, userId;
  let queue = [];
  let inFlight = [];
  let batchMost = BATCH_MOST_EVENTS;
  let timer, failures = 0, notBefore = 0, unreachable = false;
  let restored = false;
  const sizes = new WeakMap();
  let href = location.href;
  let referrer = document.referrer;
  // A page of this site that led here may be the landing page, whose visitor agrees only now.
  let epik = epikIn(href) || (referrer.startsWith(location.origin + "/") ? epikIn(referrer) : "");

  function debug(what, detail) {
    console.debug("datafly.js: " + what, detail === undefined ? "" : detail);
  }

  // Whatever goes wrong in here is none of the page's business.
  function guarded(work) {
    return function () {
      try {
        work.apply(undefined, arguments);
      } catch (error) {
        debug("dropped a call", error);
      }
    };
  }

  // ---- What the page says

  // A copy, since the page may change its own before it is sent. No store takes null bytes or half a
  // surrogate pair, which is what cutting a text short leaves of an emoji.
  function copy(value) {
    return JSON.parse(JSON.stringify(value, (_, part) => {
      if (typeof part === "bigint") return String(part);
      return typeof part === "string" ? part.replace(/[\0\ud800-\udfff]/gu, "\ufffd") : part;
    }));
  }

  function objectOf(value, what) {
    if (value === undefined || value === null) return undefined;
    try {
      const copied = copy(value);
      if (copied && typeof copied === "object" && !Array.isArray(copied)) return copied;
    } catch (error) {
      debug(what, error);
    }
    debug(what + " must be an object that JSON can hold; left out");
  }

  function textOf(value, what) {
    if (typeof value === "string" && value.trim() && value.length <= 256) return value;
    if (value !== undefined && value !== null) debug(what + " must be a text of 1 to 256 characters");
  }

  function idOf(value) {
    return textOf(Number.isFinite(value) ? String(value) : value, "the id");
  }

  function track(name, properties) {
    const event = textOf(name, "the event's name");
    if (!event) return debug("track needs an event's name");
    enqueue("track", { event: event, properties: objectOf(properties, "properties") });
  }

  function page() {
    moved();
    enqueue("page", {});
  }

  function identify(id, traits) {
    const known = about(id, traits);
    if (!known) return debug("identify needs a user id or traits");
    userId = known.id || userId;
    enqueue("identify", { traits: known.traits });
  }

  // Later events are not about the person who was identified before.
  function reset() {
    userId = undefined;
    enqueue("identify", { userId: null });
  }

  function group(id, traits) {
    const known = about(id, traits);
    if (!known) return debug("group needs a group id or traits");
    enqueue("group", { groupId: known.id, traits: known.traits });
  }

  function about(id, traits) {
    const onlyTraits = id !== null && typeof id === "object" && traits === undefined;
    const known = {
      id: onlyTraits ? undefined : idOf(id),
      traits: objectOf(onlyTraits ? id : traits, "traits"),
    };
    return known.id || known.traits ? known : undefined;
  }

  // What waits and says nothing of consent yet, such as the page view of a moment ago, learns it too.
  function setConsent(categories) {
    const said = objectOf(categories, "consent categories");
    if (!said) return;
    consent = said;
    queue.forEach((event) => {
      event.context.consent = event.context.consent || consent;
    });
    if (mayStore()) restore();
    else forgetAll();
  }

  // ---- Consent and what is kept

  // As the collector decides it for its cookies, and stricter where a consent tool is unclear.
  function mayStore() {
    const sets = consent ? [consent.categories, consent.canonical].filter(Boolean) : [];
    return Boolean(consent) && (sets.length ? sets : [consent]).every((set) => {
      const said = set.advertising === undefined ? set.marketing : set.advertising;
      return said === true || said === "granted" || said === "true";
    });
  }

  function stored() {
    try {
      const events = JSON.parse(localStorage.getItem(QUEUE_ITEM));
      return events.filter((event) => event && event.messageId && event.context);
    } catch (error) {
      return [];
    }
  }

  function store(events) {
    try {
      if (events.length) localStorage.setItem(QUEUE_ITEM, JSON.stringify(events));
      else localStorage.removeItem(QUEUE_ITEM);
    } catch (error) {
      debug("the browser keeps nothing", error);
    }
  }

  // Other tabs of the site keep their events in the same place. One that two of them send is still one event:
  // its messageId is the same.
  function keep(events) {
    if (mayStore() && events.length) store(bounded(without(stored(), events).concat(events)));
  }

  function forget(events) {
    if (mayStore()) store(without(stored(), events));
  }

  function forgetAll() {
    try {
      localStorage.removeItem(QUEUE_ITEM);
      sessionStorage.removeItem(EPIK_ITEM);
    } catch (error) {
      debug("the browser keeps nothing", error);
    }
  }

  function without(events, others) {
    const ids = others.map((event) => event.messageId);
    return events.filter((event) => ids.indexOf(event.messageId) < 0);
  }

  // The newest, as far as they fit.
  function bounded(events) {
    const oldest = Date.now() - KEPT_MOST_MS;
    let bytes = 0;
    return events
      .filter((event) => Date.parse(event.timestamp) > oldest)
      .slice(-KEPT_MOST_EVENTS)
      .reverse()
      .filter((event) => (bytes += bytesOf(event)) <= KEPT_MOST_BYTES)
      .reverse();
  }

  function bytesOf(event) {
    if (!sizes.has(event)) sizes.set(event, new TextEncoder().encode(JSON.stringify(event)).length);
    return sizes.get(event);
  }

  function restore() {
    rememberEpik();
    if (restored) return;
    restored = true;
    queue = bounded(without(stored(), queue.concat(inFlight)).concat(queue));
    plan();
  }

  // ---- Where the visitor is

  // As it stands in the address, still encoded.
  function epikIn(url) {
    return (/[?&]epik=([^&#]+)/.exec(url) || [])[1] || "";
  }

  function rememberEpik() {
    try {
      if (epik) sessionStorage.setItem(EPIK_ITEM, epik);
      else epik = sessionStorage.getItem(EPIK_ITEM) || "";
    } catch (error) {
      debug("the browser keeps nothing", error);
    }
  }

  // The click id of the visit's first page goes along with its later ones.
  function address() {
    if (!epik || epikIn(href) || !mayStore()) return href;
    const url = new URL(href);
    url.search += (url.search ? "&" : "?") + "epik=" + epik;
    return url.href;
  }

  // A place within a page is no page of its own, unless the address after the # is a path.
  function pageOf(url) {
    return url.replace(/#(?![!/]).*$/, "");
  }

  function moved() {
    const before = href;
    href = location.href;
    if (pageOf(href) === pageOf(before)) return false;
    referrer = before;
    epik = epikIn(href) || epik;
    return true;
  }

  function context() {
    return {
      page: {
        url: address(),
        path: location.pathname,
        referrer: referrer,
        title: document.title,
        search: location.search,
      },
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      consent: consent,
      library: { name: "datafly.js", version: VERSION },
    };
  }

  function viewIfMoved() {
    if (moved()) enqueue("page", {});
  }

  // Routers change the address before the title, and some of them twice: the view is where that ends.
  function watchNavigation() {
    const soon = () => setTimeout(guarded(viewIfMoved), 0);
    ["pushState", "replaceState"].forEach((name) => {
      const original = history[name];
      history[name] = function () {
        const result = original.apply(this, arguments);
        soon();
        return result;
      };
    });
    addEventListener("popstate", soon);
    // Back and forward may show a page as it was left, without loading it again.
    addEventListener("pageshow", guarded((event) => event.persisted && page()));
  }

  // ---- Sending

  // Only a secure page has randomUUID.
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));
  }

  function enqueue(type, fields) {
    if (!key) return debug("no data-pipeline-key on the script's tag");
    if (type !== "page") viewIfMoved();
    const event = copy(Object.assign({
      type: type,
      messageId: uuid(),
      timestamp: new Date().toISOString(),
      userId: userId,
      context: context(),
    }, fields));
    if (bytesOf(event) > BODY_MOST_BYTES) return debug("an event of over 60 KB was dropped");
    queue = bounded(queue.concat(event));
    plan();
  }

  function plan() {
    const wait = notBefore - performance.now();
    if (wait <= 0 && queue.length >= batchMost) send();
    else if (!timer && queue.length) timer = setTimeout(guarded(send), Math.max(wait, BATCH_MS));
  }

  function take() {
    let count = 0, bytes = 0;
    while (count < Math.min(batchMost, queue.length)) {
      bytes += bytesOf(queue[count]) + SENT_AT_BYTES;
      if (count && bytes > BODY_MOST_BYTES) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  // The collector sets a wrong clock right by comparing sentAt to its own.
  function bodyOf(events) {
    const sentAt = new Date().toISOString();
    return JSON.stringify({ batch: events.map((event) => Object.assign({}, event, { sentAt: sentAt })) });
  }

  function send() {
    clearTimeout(timer);
    timer = 0;
    if (inFlight.length || !queue.length) return;
    if (notBefore > performance.now()) return plan();
    inFlight = take();
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), ANSWER_MS);
    const settled = guarded((status, retryAfter) => {
      clearTimeout(deadline);
      settle(status, retryAfter);
    });
    post(abort.signal)
      .then(read)
      .catch(() => [0, null])
      .then((answer) => settled(answer[0], answer[1]));
  }

  // Read to its end, since until then the request counts towards the 64 KB that the next one needs.
  function read(answer) {
    const said = [answer.status, answer.headers.get("Retry-After")];
    return answer.text().then(() => said, () => said);
  }

  // A later attempt goes without keepalive, whose 64 KB the page's own requests may have used up.
  function post(signal) {
    return new Promise((resolve) => resolve(fetch(endpoint, {
      method: "POST",
      headers: { Authorization: "Bearer " + key, "Content-Type": "application/json" },
      body: bodyOf(inFlight),
      credentials: "include",
      keepalive: !failures,
      signal: signal,
    })));
  }

  function settle(status, retryAfter) {
    const events = inFlight;
    inFlight = [];
    if (status >= 200 && status < 300) {
      failures = 0;
      forget(events);
    } else if (REFUSED_FOR_GOOD.indexOf(status) < 0) {
      putBack(events);
      backOff(status, retryAfter);
    } else if (events.length > 1 && status !== 401) {
      // One of them spoils the rest: each goes alone.
      batchMost = 1;
      putBack(events);
    } else {
      debug("the collector refused events with status " + status, events);
      forget(events);
    }
    if (!queue.length) batchMost = BATCH_MOST_EVENTS;
    plan();
  }

  function putBack(events) {
    queue = bounded(events.concat(queue));
    keep(queue);
  }

  // Half of the wait is left to chance, so that pages that failed together do not come back together.
  function backOff(status, retryAfter) {
    const most = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * Math.pow(2, failures));
    failures += 1;
    unreachable = !status;
    notBefore = performance.now() + retryAfterMs(retryAfter) + most * (0.5 + Math.random() / 2);
  }

  function retryAfterMs(text) {
    const wait = isNaN(text) ? Date.parse(text) - Date.now() : text * 1000;
    return Math.min(Math.max(wait || 0, 0), RETRY_AFTER_MOST_MS);
  }

  // An answer to what is in flight may find nobody, so that it is kept until there is one. A beacon has no
  // header: the key stands in the address.
  function leave() {
    keep(inFlight);
    if (mayStore() && (!navigator.onLine || notBefore > performance.now())) return keep(queue);
    while (queue.length) {
      const events = take();
      if (!navigator.sendBeacon(endpoint + "?key=" + encodeURIComponent(key), bodyOf(events))) {
        return putBack(events);
      }
      forget(events);
    }
  }

  function watchLeaving() {
    addEventListener("pagehide", guarded(leave));
    document.addEventListener("visibilitychange", guarded(() => {
      if (document.visibilityState === "hidden") leave();
    }));
    addEventListener("online", guarded(() => {
      if (unreachable) notBefore = 0;
      send();
    }));
  }

  // ---- Start

  const calls = { track: track, page: page, identify: identify, group: group, consent: setConsent, reset: reset };

  function install() {
    const df = (window._df = window._df || {});
    const waiting = Array.isArray(df.q) ? df.q : [];
    Object.keys(calls).forEach((name) => {
      df[name] = guarded(calls[name]);
    });
    df.version = VERSION;
    // A page may hold on to the stub's functions, which push to here for ever.
    df.q = { push: guarded((call) => calls[call[0]].apply(undefined, [].slice.call(call, 1))) };
    return () => waiting.forEach(df.q.push);
  }

  function connect() {
    const tags = [document.currentScript, document.querySelector("script[data-pipeline-key]")];
    const tag = tags.filter((one) => one && one.dataset && one.dataset.pipelineKey)[0];
    if (!tag) return debug("no data-pipeline-key on the script's tag");
    endpoint = new URL("v1/batch", tag.dataset.endpoint || tag.src).href;
    key = tag.dataset.pipelineKey;
  }

  guarded(() => {
    if (window._df && window._df.version) return;
    const replay = install();
    connect();
    // What was said before, consent above all, holds for the first page view too.
    replay();
    guarded(watchNavigation)();
    guarded(watchLeaving)();
    // A page that is prepared in the background may never be seen.
    if (document.prerendering) {
      document.addEventListener("prerenderingchange", guarded(page), { once: true });
    } else {
      page();
    }
  })();
})();
