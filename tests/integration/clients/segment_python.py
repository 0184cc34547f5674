"""Send calls with Segment's Python library: `python segment_python.py HOST WRITE_KEY CALLS`."""

import json
import sys

from segment import analytics

analytics.host, analytics.write_key = sys.argv[1], sys.argv[2]
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
