import { createClient } from "./client.js";
import { guarded } from "./log.js";

const waiting = [];
let calls;

/** Start the client: `key` is the pipeline key, `endpoint` the address of the collector. */
export function load(settings) {
  if (calls) return;
  const endpoint = new URL("v1/batch", settings.endpoint).href;
  const client = createClient(Object.assign({}, settings, { endpoint: endpoint, suffix: "" }));
  calls = client.calls;
  waiting.splice(0).forEach(guarded((call) => calls[call[0]].apply(undefined, call[1])));
  client.start();
}

// Calls before `load` wait for it.
function call(name) {
  return guarded(function () {
    if (calls) calls[name].apply(undefined, arguments);
    else waiting.push([name, arguments]);
  });
}

export const track = call("track");
export const page = call("page");
export const identify = call("identify");
export const group = call("group");
export const consent = call("consent");
export const reset = call("reset");
