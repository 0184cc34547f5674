import type { Datafly, DataflySettings } from "./dist/datafly.js";

export type * from "./dist/datafly.js";

/** Start the client. Calls made before wait for it. */
export declare function load(settings: DataflySettings): void;

export declare const track: Datafly["track"];
export declare const page: Datafly["page"];
export declare const identify: Datafly["identify"];
export declare const group: Datafly["group"];
export declare const consent: Datafly["consent"];
export declare const reset: Datafly["reset"];
