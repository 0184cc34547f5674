import { bytesOf, stringify } from "./json.js";
import { debug } from "./log.js";

const MAX_EVENTS = 1000;
const MAX_BYTES = 1000000;
// Shorter than the seven days after which Pinterest refuses an event.
const MAX_AGE_MS = 6 * 86400000;

/** Return the newest events that fit the limits of the queue. */
export function bounded(events) {
  const oldest = Date.now() - MAX_AGE_MS;
  let bytes = 0;
  return events
    .filter((event) => Date.parse(event.timestamp) > oldest)
    .slice(-MAX_EVENTS)
    .reverse()
    .filter((event) => (bytes += bytesOf(event)) <= MAX_BYTES)
    .reverse();
}

export function without(events, others) {
  const ids = others.map((event) => event.messageId);
  return events.filter((event) => ids.indexOf(event.messageId) < 0);
}

/**
 * Keep events in the browser until the collector has confirmed them.
 *
 * Other tabs of the site keep their events in the same place. An event that two of them send is one event: its
 * messageId is the same.
 */
export function createStore(item, epikItem) {
  function load() {
    try {
      const events = JSON.parse(localStorage.getItem(item));
      return events.filter((event) => event && event.messageId && event.context);
    } catch (error) {
      return [];
    }
  }

  function save(events) {
    try {
      if (events.length) localStorage.setItem(item, stringify(events));
      else localStorage.removeItem(item);
      return true;
    } catch (error) {
      debug("the browser stores nothing", error);
      return false;
    }
  }

  return {
    load: load,
    /** Return whether the browser has stored the events. */
    keep: (events) => !events.length || save(bounded(without(load(), events).concat(events))),
    forget: (events) => save(without(load(), events)),
    clear: () => {
      save([]);
      try {
        sessionStorage.removeItem(epikItem);
      } catch (error) {
        debug("the browser stores nothing", error);
      }
    },
    /** Store this visit's click id, or return the stored one. */
    rememberEpik: (epik) => {
      try {
        if (epik) sessionStorage.setItem(epikItem, epik);
        else return sessionStorage.getItem(epikItem) || "";
      } catch (error) {
        debug("the browser stores nothing", error);
      }
      return epik;
    },
  };
}
