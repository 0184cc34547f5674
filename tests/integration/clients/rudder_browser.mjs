// Send calls with RudderStack's browser library; the page calls send(HOST, KEY, CALLS).
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

window.send = async (host, key, calls) => {
  const analytics = new RudderAnalytics();
  analytics.load(key, host, { configUrl: host });
  for (const { type, userId, traits, event, properties, context } of calls) {
    if (type === "identify") analytics.identify(userId, traits, context);
    else if (type === "page") analytics.page(null, null, properties, context);
    else analytics.track(event, properties, context);
  }
};
