// Send calls with Segment's browser library; the page calls send(HOST, KEY, CALLS).
import { AnalyticsBrowser } from "@segment/analytics-next";

window.send = async (host, key, calls) => {
  const url = new URL(host);
  const [analytics] = await AnalyticsBrowser.load(
    { writeKey: key, cdnSettings: { integrations: { "Segment.io": { apiKey: key } } } },
    {
      integrations: { "Segment.io": { apiHost: `${url.host}/v1`, protocol: url.protocol.slice(0, -1) } },
    },
  );
  for (const { type, userId, traits, event, properties, context } of calls) {
    if (type === "identify") await analytics.identify(userId, traits, { context });
    else if (type === "page") await analytics.page(null, null, properties, { context });
    else await analytics.track(event, properties, { context });
  }
};
