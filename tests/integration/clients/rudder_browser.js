// Send calls from a page with RudderStack's browser library.
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

window.send = (host, writeKey, calls) =>
  new Promise((resolve) => {
    const analytics = new RudderAnalytics();
    analytics.load(writeKey, host, {
      configUrl: host,
      lockIntegrationsVersion: true,
      sendAdblockPage: false,
      useBeacon: false,
      onLoaded: () => {
        for (const call of calls) {
          const options = { ...call.context, originalTimestamp: undefined };
          if (call.type === "identify") analytics.identify(call.userId, call.traits, options);
          else if (call.type === "page") analytics.page(undefined, undefined, {}, options);
          else analytics.track(call.event, call.properties, options);
        }
        setTimeout(resolve, 3000);
      },
    });
  });
