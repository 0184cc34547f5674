/** What `window._df` offers once Datafly.js, or the stub before it, is on the page. No call ever throws. */
export interface Datafly {
  /**
   * Tell that something happened. `properties` are copied at once; the event id by which Pinterest matches it
   * with the server's own copy is `properties.event_id`, if given.
   */
  track(name: string, properties?: DataflyObject): void;

  /** Tell of a page view that is neither a page's load nor a change of its address: those are seen anyway. */
  page(): void;

  /** Tell who the visitor is. Traits such as `email` are hashed before they leave your machines. */
  identify(userId: string | number | null | undefined, traits?: DataflyObject): void;
  identify(traits: DataflyObject): void;

  /** Tell which group or company the visitor belongs to. */
  group(groupId: string | number | null | undefined, traits?: DataflyObject): void;
  group(traits: DataflyObject): void;

  /**
   * Tell what the visitor agreed to; call it on every page, before anything else where possible. It goes along
   * with all later events, and with those that still wait and say nothing of consent. Nothing is kept in the
   * browser before `advertising` (or its twin `marketing`) is granted, and what was kept is removed when it is
   * denied.
   */
  consent(categories: DataflyConsent): void;
  /** Signs the visitor out: later events are not about the person who was identified before. */
  reset(): void;

  /** Calls made before the script has loaded, each as `[name, ...arguments]`; pushing works ever after. */
  readonly q: { push(call: DataflyCall): void };

  /** Absent before the script has loaded. */
  readonly version?: string;
}

export type DataflyObject = { [key: string]: unknown };
export type DataflyAnswer = boolean | "granted" | "denied";
export type DataflyCategories = { [category: string]: DataflyAnswer };

/** By category, or as consent tools nest it. */
export type DataflyConsent =
  | DataflyCategories
  | { categories: DataflyCategories; canonical?: DataflyCategories }
  | { canonical: DataflyCategories };

export type DataflyCall = readonly ["track" | "page" | "identify" | "group" | "consent" | "reset", ...unknown[]];

declare global {
  interface Window {
    _df: Datafly;
  }
  // eslint-disable-next-line no-var -- only var makes a property of window
  var _df: Datafly;
}
