// Send calls with RudderStack's Node library: node rudder_node.mjs HOST WRITE_KEY CALLS
import Analytics from "@rudderstack/rudder-sdk-node";

const [dataPlaneUrl, writeKey, calls] = process.argv.slice(2);
const analytics = new Analytics(writeKey, { dataPlaneUrl });
for (const { type, ...call } of JSON.parse(calls)) analytics[type](call);
await new Promise((resolve, reject) => analytics.flush((error) => (error ? reject(error) : resolve())));
