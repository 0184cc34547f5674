"""Send calls with RudderStack's Python library: `python rudder_python.py HOST WRITE_KEY CALLS`."""

import json
import sys

from rudderstack import analytics

analytics.dataPlaneUrl, analytics.write_key = sys.argv[1], sys.argv[2]
analytics.gzip = True
for call in json.loads(sys.argv[3]):
    shared = {"user_id": call["userId"], "context": call["context"], "message_id": call["messageId"]}
    if call["type"] == "identify":
        analytics.identify(traits=call["traits"], **shared)
    elif call["type"] == "page":
        analytics.page(properties={}, **shared)
    else:
        analytics.track(event=call["event"], properties=call["properties"], **shared)
analytics.shutdown()
