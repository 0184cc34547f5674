import { createClient, VERSION } from "./client.js";
import { debug, guarded } from "./log.js";

const NAMES = ["track", "page", "identify", "group", "consent", "reset"];
const PAST_MAX_CALLS = 200;
const ATTRIBUTES = ["consent", "consentSeconds", "consentTools", "pageViews", "queryViews"];

/** Read the settings from the script's tag, its URL's query, and window._df, in this order. */
function readSettings(df) {
  const tags = [document.currentScript, document.querySelector("script[data-pipeline-key]")];
  const tag = tags.filter((tag) => tag && (tag.dataset.pipelineKey || /[?&]key=/.test(tag.src)))[0] || tags[0];
  const data = (tag && tag.dataset) || {};
  const source = (tag && tag.src) || "";
  const query = source ? new URL(source).searchParams : new URLSearchParams();
  // Tag managers remove attributes from the tags that they add.
  const read = (attribute, name) => data[attribute] || query.get(name) || df[name] || "";
  const settings = { key: read("pipelineKey", "key"), suffix: "" };
  ATTRIBUTES.forEach((name) => {
    settings[name] = read(name, name);
  });
  const endpoint = read("endpoint", "endpoint");
  if (endpoint || source) settings.endpoint = new URL("v1/batch", endpoint || source).href;
  return settings;
}

/** Make window._df call this client, too. */
function install(df, calls, past) {
  const before = df.version ? Object.assign({}, df) : {};
  NAMES.forEach((name) => {
    const call = guarded(calls[name]);
    df[name] = function () {
      past.push([name].concat([].slice.call(arguments)));
      past.splice(0, past.length - PAST_MAX_CALLS);
      if (before[name]) before[name].apply(undefined, arguments);
      return void call.apply(undefined, arguments);
    };
  });
  // A page may hold on to the stub's functions, which push to here for ever.
  df.q = {
    past: past,
    push: guarded((call) => NAMES.indexOf(call[0]) >= 0 && df[call[0]].apply(undefined, [].slice.call(call, 1))),
  };
}

guarded(() => {
  const df = (window._df = window._df || {});
  const settings = readSettings(df);
  const keys = df.keys || [];
  if (!settings.key || !settings.endpoint) debug("no data-pipeline-key on the script's tag");
  if (keys.indexOf(settings.key) >= 0) return;
  if (keys.length) settings.suffix = "_" + settings.key.slice(-12);
  const client = settings.key && settings.endpoint ? createClient(settings) : undefined;
  const nothing = {};
  NAMES.forEach((name) => {
    nothing[name] = () => debug("no data-pipeline-key on the script's tag");
  });
  const calls = client ? client.calls : nothing;
  // The calls so far: those of the stub, or those that an earlier tag with another key has got already.
  const earlier = (df.q && df.q.past ? df.q.past : Array.isArray(df.q) ? df.q : []).slice();
  const isFirst = !df.version;
  install(df, calls, isFirst ? [] : df.q.past);
  df.version = VERSION;
  if (client) Object.defineProperty(df, "keys", { value: keys.concat(settings.key), configurable: true });
  earlier.forEach(guarded((call) => {
    if (isFirst) df.q.push(call);
    else calls[call[0]].apply(undefined, call.slice(1));
  }));
  if (client) client.start();
})();
