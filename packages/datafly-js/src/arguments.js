import { copy } from "./json.js";
import { debug } from "./log.js";

/** Return a copy of an object, or undefined. */
export function objectOf(value, name) {
  if (value === undefined || value === null) return undefined;
  try {
    const copied = copy(value);
    if (copied && typeof copied === "object" && !Array.isArray(copied)) return copied;
  } catch (error) {
    debug(name, error);
  }
  debug(name + " must be an object that JSON can hold; left out");
}

/** Return a text of 1 to 256 characters, or undefined. */
export function textOf(value, name) {
  if (typeof value === "string" && value.trim() && value.length <= 256) return value;
  if (value !== undefined && value !== null) debug(name + " must be a text of 1 to 256 characters");
}

export function idOf(value) {
  return textOf(Number.isFinite(value) ? String(value) : value, "the id");
}
