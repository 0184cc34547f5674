// Send calls from a page with Segment's browser library.
import { AnalyticsBrowser } from "@segment/analytics-next";

window.send = async (host, writeKey, calls) => {
  const integrations = { "Segment.io": { apiHost: host + "/v1", protocol: "http", deliveryStrategy: { strategy: "standard" } } };
  const analytics = AnalyticsBrowser.load(
    { writeKey, cdnSettings: { integrations } },
    { integrations, disableClientPersistence: true },
  );
  for (const call of calls) {
    const options = { context: call.context, ...call.context, messageId: call.messageId };
    if (call.type === "identify") await analytics.identify(call.userId, call.traits, options);
    else if (call.type === "page") await analytics.page(undefined, undefined, {}, options);
    else await analytics.track(call.event, call.properties, options);
  }
};
