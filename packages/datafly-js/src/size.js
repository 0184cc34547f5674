import { bytesOf, copy } from "./json.js";

// Browsers let keepalive requests and beacons hold 64 KB at a time.
export const KEEPALIVE_MAX_BYTES = 60000;
// The collector takes 512 KB a request.
const REQUEST_MAX_BYTES = 500000;
const MAX_TEXT = 1024;
const MAX_ITEM_TEXT = 200;
const LISTS = ["products", "items", "contents", "line_items", "lineItems"];

/** Trim an event that is too large for one request: long texts first, then details of its products. */
export function trim(event) {
  if (bytesOf(event) <= KEEPALIVE_MAX_BYTES) return event;
  const trimmed = copy(event);
  if (trimmed.properties) trimmed.properties = shortened(trimmed.properties);
  if (trimmed.traits) trimmed.traits = shortened(trimmed.traits);
  return bytesOf(trimmed) <= REQUEST_MAX_BYTES ? trimmed : cut(trimmed, REQUEST_MAX_BYTES);
}

/** Cut an event's product list until the event fits; its value and number of items stay those of all products. */
export function cut(event, maxBytes) {
  if (bytesOf(event) <= maxBytes) return event;
  const smaller = copy(event), properties = smaller.properties || {};
  LISTS.forEach((name) => {
    const products = properties[name];
    if (!Array.isArray(products)) return;
    addTotals(properties, products);
    const spare = maxBytes - (bytesOf(event) - bytesOf(products));
    const average = bytesOf(products) / products.length;
    properties[name] = products.slice(0, Math.max(0, Math.floor(spare / average * 0.9)));
  });
  return smaller;
}

function addTotals(properties, products) {
  let value = 0, count = 0;
  products.forEach((product) => {
    const pieces = Number((product && product.quantity) || 1);
    const price = parseFloat(product && (product.price || product.item_price));
    value += price * pieces;
    count += pieces;
  });
  const stated = ["value", "total", "revenue"].some((name) => properties[name] !== undefined);
  if (!stated && isFinite(value)) properties.value = Math.round(value * 1e6) / 1e6;
  if (properties.num_items === undefined && isFinite(count)) properties.num_items = count;
}

function shortened(value) {
  const result = {};
  Object.keys(value).forEach((key) => {
    const part = value[key];
    result[key] = Array.isArray(part) ? part.map(withoutDetails) : cutText(part, MAX_TEXT);
  });
  return result;
}

// Descriptions, pictures and nested objects of a product are not sent to Pinterest.
function withoutDetails(item) {
  if (!item || typeof item !== "object" || Array.isArray(item)) return cutText(item, MAX_ITEM_TEXT);
  const result = {};
  Object.keys(item).forEach((key) => {
    const part = item[key], isLong = typeof part === "string" && part.length > MAX_ITEM_TEXT;
    if (part !== null && typeof part !== "object" && (!isLong || /name|title/i.test(key))) {
      result[key] = cutText(part, MAX_ITEM_TEXT);
    }
  });
  return result;
}

function cutText(value, length) {
  return typeof value === "string" && value.length > length ? value.slice(0, length) : value;
}
