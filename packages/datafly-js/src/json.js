// Prototype 1.6 gives arrays, texts and dates a toJSON that turns them into JSON text twice.
const TYPES = [Object, Array, String, Number, Boolean, Date];

/** Format a value as JSON, whatever the page has done to the built-in types. */
export function stringify(value, replacer) {
  const patched = [];
  TYPES.forEach((type) => {
    const own = Object.getOwnPropertyDescriptor(type.prototype, "toJSON");
    if (own && own.configurable && String(own.value).indexOf("[native code]") < 0) {
      patched.push([type.prototype, own]);
      delete type.prototype.toJSON;
      if (type === Date) Date.prototype.toJSON = isoTime;
    }
  });
  try {
    return JSON.stringify(value, replacer);
  } finally {
    patched.forEach((entry) => Object.defineProperty(entry[0], "toJSON", entry[1]));
  }
}

function isoTime() {
  return isFinite(this) ? this.toISOString() : null;
}

/**
 * Copy a value that JSON can hold, because the page may change its own before it is sent.
 *
 * No store takes null bytes or half a surrogate pair, which is what cutting a text short leaves of an emoji.
 */
export function copy(value) {
  return JSON.parse(stringify(value, (_, part) => {
    if (typeof part === "bigint") return String(part);
    return typeof part === "string" ? part.replace(/[\0\ud800-\udfff]/gu, "\ufffd") : part;
  }));
}

const sizes = new WeakMap();

/** Return the size of an event in bytes. Consent that is added later is not counted. */
export function bytesOf(event) {
  if (!sizes.has(event)) sizes.set(event, new TextEncoder().encode(stringify(event)).length);
  return sizes.get(event);
}
