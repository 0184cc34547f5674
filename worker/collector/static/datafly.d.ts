/** The functions of `window._df`, once Datafly.js or the stub before it is on the page. No call ever throws. */
export interface Datafly {
  /**
   * Send an event. `properties` are copied at once. `properties.event_id`, if given, is the id by which Pinterest
   * matches the event with the Pinterest tag's copy.
   */
  track(name: string, properties?: DataflyObject): void;

  /**
   * Send a page view. A page's load and a change of its address are seen without a call; the same page twice in a
   * row is one view. `url`, `title` and `referrer` replace the page's own until the next view, and other fields
   * become properties.
   */
  page(fields?: DataflyPage): void;
  page(name: string, fields?: DataflyPage): void;

  /** Say who the visitor is. Traits such as `email` are hashed before they leave your machines. Null signs out. */
  identify(userId: string | number | null | undefined, traits?: DataflyObject): void;
  identify(traits: DataflyObject): void;

  /** Say which group or company the visitor belongs to. */
  group(groupId: string | number | null | undefined, traits?: DataflyObject): void;
  group(traits: DataflyObject): void;

  /**
   * State what the visitor agreed to; call it on every page, before anything else where possible. It is sent with
   * all later events, and with waiting events that have no consent yet. Nothing is kept in the browser before
   * `advertising` (or `marketing`) is granted, and what was kept is removed when it is denied.
   */
  consent(categories: DataflyConsent): void;

  /** Sign the visitor out: later events belong to no known visitor. */
  reset(): void;

  /** Calls made before the script has loaded, each as `[name, ...arguments]`; pushing works later, too. */
  readonly q: { push(call: DataflyCall): void };

  /** Absent before the script has loaded. */
  readonly version?: string;
}

export type DataflyObject = { [key: string]: unknown };
export type DataflyPage = DataflyObject & {
  url?: string;
  title?: string;
  referrer?: string;
  path?: string;
  search?: string;
};
export type DataflyAnswer = boolean | "granted" | "denied";
export type DataflyCategories = { [category: string]: DataflyAnswer };

/** By category, or as consent tools nest it. */
export type DataflyConsent =
  | DataflyCategories
  | { categories: DataflyCategories; canonical?: DataflyCategories }
  | { canonical: DataflyCategories };

export type DataflyCall = readonly ["track" | "page" | "identify" | "group" | "consent" | "reset", ...unknown[]];

/** The attributes of the script's tag, as `data-…`, and the settings of `load`. */
export interface DataflySettings {
  /** The source's pipeline key. */
  key: string;
  /** The address of the collector, such as `https://data.example.com/`. */
  endpoint: string;
  /** `wait` holds events until the visitor has answered, for at most `consentSeconds` (600). */
  consent?: "wait";
  consentSeconds?: number;
  /** `off` does not listen to consent tools. */
  consentTools?: "off";
  /** `manual` sends page views only when `page` is called. */
  pageViews?: "manual";
  /** `on` counts a page whose query is replaced as another page. */
  queryViews?: "on";
}

declare global {
  interface Window {
    _df: Datafly;
  }
  // eslint-disable-next-line no-var -- only var makes a property of window
  var _df: Datafly;
}
