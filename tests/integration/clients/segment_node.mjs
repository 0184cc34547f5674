// Send calls with Segment's Node library: node segment_node.mjs HOST WRITE_KEY CALLS
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, calls] = process.argv.slice(2);
const analytics = new Analytics({ host, writeKey });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
for (const { type, ...call } of JSON.parse(calls)) analytics[type](call);
await analytics.closeAndFlush();
