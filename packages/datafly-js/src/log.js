export function debug(message, detail) {
  console.debug("datafly.js: " + message, detail === undefined ? "" : detail);
}

/** Return a function that never throws: an error in here must not reach the page. */
export function guarded(work) {
  return function () {
    try {
      work.apply(undefined, arguments);
    } catch (error) {
      debug("dropped a call", error);
    }
  };
}
