import { bytesOf, stringify } from "./json.js";
import { debug, guarded } from "./log.js";
import { cut, KEEPALIVE_MAX_BYTES } from "./size.js";
import { bounded, without } from "./storage.js";

const MAX_BATCH_EVENTS = 10;
const BATCH_MS = 1000;
const SENT_AT_BYTES = 40;
const ANSWER_MS = 30000;
const FIRST_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 300000;
const MAX_RETRY_AFTER_MS = 3600000;
// The same request would get these answers again.
const PERMANENT = [400, 413, 415];

/**
 * Send events in batches until the collector confirms them.
 *
 * An event leaves the browser's storage only after an answer. `store.keep` is used only while `mayStore()` is true.
 * `beforeLeaving` is called before the last requests of the page.
 */
export function createSender(endpoint, key, store, mayStore, credentials, beforeLeaving) {
  // Events wait in `queue`, are carried by a request of their own in `inFlight`, or by the page's last requests in
  // `leaving`.
  let queue = [], inFlight = [], leaving = [];
  let inFlightSurvives = false;
  let batchEvents = MAX_BATCH_EVENTS;
  let timer, failures = 0, notBefore = 0, unreachable = false;
  let holds = 0, stopped = false;

  const keep = (events) => mayStore() && store.keep(events);
  const forget = (events) => mayStore() && store.forget(events);

  function add(event) {
    if (stopped) return;
    queue = bounded(queue.concat(event));
    plan();
  }

  function plan() {
    if (holds || stopped) return;
    const wait = notBefore - performance.now();
    if (wait <= 0 && queue.length >= batchEvents) send();
    else if (!timer && queue.length) timer = setTimeout(guarded(send), Math.max(wait, BATCH_MS));
  }

  function take() {
    let count = 0, bytes = 0;
    while (count < Math.min(batchEvents, queue.length)) {
      bytes += bytesOf(queue[count]) + SENT_AT_BYTES;
      if (count && bytes > KEEPALIVE_MAX_BYTES) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  // The collector corrects a wrong clock by comparing sentAt to its own.
  function bodyOf(events) {
    const sentAt = new Date().toISOString();
    return stringify({ batch: events.map((event) => Object.assign({}, event, { sentAt: sentAt })) });
  }

  function send() {
    clearTimeout(timer);
    timer = 0;
    if (holds || stopped || inFlight.length || !queue.length) return;
    if (notBefore > performance.now()) return plan();
    const events = inFlight = take();
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), ANSWER_MS);
    const body = bodyOf(events);
    // A later attempt goes without keepalive, whose 64 KB the page's own requests may have used up.
    inFlightSurvives = !failures && body.length <= KEEPALIVE_MAX_BYTES;
    request(endpoint, {
      headers: { Authorization: "Bearer " + key, "Content-Type": "application/json" },
      body: body,
      keepalive: inFlightSurvives,
      signal: abort.signal,
    }, (status, retryAfter) => {
      clearTimeout(deadline);
      inFlight = [];
      settle(events, status, retryAfter);
    });
  }

  function request(url, options, settled) {
    const settledOnce = guarded(settled);
    new Promise((resolve) => resolve(fetch(url, Object.assign({ method: "POST", credentials: credentials }, options))))
      .then(read)
      .catch(() => [0, null])
      .then((answer) => settledOnce(answer[0], answer[1]));
  }

  // Read to its end, because until then the request counts towards the 64 KB that the next one needs.
  function read(answer) {
    const result = [answer.status, answer.headers.get("Retry-After")];
    return answer.text().then(() => result, () => result);
  }

  function settle(events, status, retryAfter) {
    if (status >= 200 && status < 300) {
      failures = 0;
      forget(events);
    } else if (status === 401) {
      stop(events);
    } else if (PERMANENT.indexOf(status) < 0) {
      putBack(events);
      backOff(status, retryAfter);
    } else if (events.length > 1) {
      // One of them spoils the rest: each goes alone.
      batchEvents = 1;
      putBack(events);
    } else {
      debug("the collector refused an event with status " + status, events);
      forget(events);
    }
    if (!queue.length) batchEvents = MAX_BATCH_EVENTS;
    plan();
  }

  // What is stored stays: a page with a valid key sends it.
  function stop(events) {
    if (!stopped) console.warn("datafly.js: the collector refuses the pipeline key. Nothing is sent from this page.");
    stopped = true;
    keep(queue.concat(events));
    queue = [];
  }

  function putBack(events) {
    queue = bounded(events.concat(without(queue, events)));
    keep(queue);
  }

  // Half of the wait is random, so that pages that failed together do not come back together.
  function backOff(status, retryAfter) {
    const most = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * Math.pow(2, failures));
    failures += 1;
    unreachable = !status;
    notBefore = performance.now() + retryAfterMs(retryAfter) + most * (0.5 + Math.random() / 2);
  }

  /**
   * Send what waits with a request that outlives the page.
   *
   * Its answer counts if the page is still there. Otherwise the next page sends the stored events again. During a
   * back-off nothing is sent, unless the browser cannot store the events.
   */
  function leave() {
    // A page that was prepared in the background and never shown has nothing to send.
    if (stopped || document.prerendering) return;
    beforeLeaving();
    holds = 0;
    // A request without keepalive ends with the page.
    if (inFlight.length && !inFlightSurvives) queue = inFlight.concat(queue);
    const stored = keep(queue.concat(inFlight, leaving));
    if (stored && (!navigator.onLine || notBefore > performance.now())) {
      queue = without(queue, inFlight);
      return;
    }
    while (queue.length) {
      const events = take();
      sendLast(stored ? events : events.map((event) => cut(event, KEEPALIVE_MAX_BYTES)));
    }
  }

  // A plain request needs no preflight, for which there is no time: the key is in the address.
  function sendLast(events) {
    const url = endpoint + "?key=" + encodeURIComponent(key), body = bodyOf(events);
    leaving = leaving.concat(events);
    if (!("keepalive" in Request.prototype)) {
      if (!navigator.sendBeacon(url, body)) comeBack();
      return;
    }
    request(url, { body: body, keepalive: true }, (status, retryAfter) => {
      leaving = without(leaving, events);
      settle(without(events, inFlight), status, retryAfter);
    });
  }

  // A beacon has no answer: a page that is still there sends again what it carried.
  function comeBack() {
    const events = leaving;
    leaving = [];
    if (events.length) putBack(events);
    plan();
  }

  addEventListener("pagehide", guarded(leave));
  document.addEventListener("visibilitychange", guarded(() => {
    if (document.visibilityState === "hidden") leave();
    else if (!("keepalive" in Request.prototype)) comeBack();
  }));
  addEventListener("online", guarded(() => {
    if (unreachable) notBefore = 0;
    send();
  }));

  return {
    add: add,
    /** Send nothing until as many `release` calls or until the page is left. */
    hold: () => {
      holds += 1;
    },
    release: () => {
      holds = Math.max(0, holds - 1);
      plan();
    },
    /** Change the events that wait. */
    each: (change) => queue.forEach(change),
    /** Queue the events that an earlier page stored. */
    restore: () => {
      queue = bounded(without(store.load(), queue.concat(inFlight, leaving)).concat(queue));
      plan();
    },
  };
}

function retryAfterMs(text) {
  const wait = isNaN(text) ? Date.parse(text) - Date.now() : text * 1000;
  return Math.min(Math.max(wait || 0, 0), MAX_RETRY_AFTER_MS);
}
