"""The period for which each thing is kept, with its reason.

`docs/data.md` lists the same periods by table. `worker/pipeline/upkeep/purging.py` deletes expired rows.
Browsers delete expired cookies.
"""

_HOUR = 3_600
_DAY = 24 * _HOUR

# RETENTION_DAYS if it is not set: final deliveries with their batches, the shop's orders, lines of imported files,
# notices of alerts, expired pipeline keys, access tokens that nothing uses, and examples of problems. A month.
DEFAULT_DAYS = 30.0

# Lines of imported files, if RETENTION_DAYS is shorter. Pinterest refuses events that are older than seven days, so an
# older line need not be known: if it is imported again, its event fails.
LEAST_IMPORTED_LINE_DAYS = 8

# Ids of removed deliveries, so that no second copy is sent. Pinterest takes no event that is over seven days old, and
# the day may have just begun.
EVENT_ID_DAYS = 9
# Ids of removed orders, signups, leads and subscriptions, and which ids name one order. The same order may come again
# for much longer than an event: by a webhook, or from a file.
BUSINESS_ID_DAYS = 30

# Visitors with their traits and click ids, since their last event, and the cookie `_dfid` that names a visitor. Click
# ids are useful for about a year; browsers keep no cookie longer.
VISITOR_DAYS = 400
# The audit log, and sums of what sources used of their quotas: a little more than a year.
AUDIT_DAYS = 400
USAGE_DAYS = 400
# Requests of persons (export, erase, suppress, allow): three years, in which a request may have to be proved.
PERSON_REQUEST_DAYS = 1_095

# Match quality, data quality and Pinterest's quality scores: about a season.
QUALITY_DAYS = 92
# Sums of the shop's orders by day: the longest report, and as many days before it for comparison.
ORDER_SUM_DAYS = 185
# Sums of the charts by minute; then they are summed by hour. Charts show minutes for the last hour; a day allows for
# wrong clocks and sleeping machines.
CHART_MINUTES = 24 * 60

# Whole events of debug mode: how long they remain visible after debugging has ended.
DEBUG_INPUT_SECONDS = 1 * _HOUR

# Signatures of signed requests: they are valid for 5 minutes, and the clocks of hosts may differ by 15.
SIGNATURE_SECONDS = 20 * 60
# Signatures of webhooks: a request that is repeated later than this is another one.
WEBHOOK_SECONDS = 7 * _DAY
# Signatures of requests from the spool, and suppressions that an erasure needs: an event may wait this long in the
# spool of a host that was cut off.
SPOOLED_SECONDS = 30 * _DAY
# A host's file of sources, for an outage of the database. What changed since then is unknown: a key may be revoked.
SOURCES_FILE_SECONDS = 7 * _DAY

# Sessions of the pages, about a working day.
SESSION_SECONDS = 12 * _HOUR
# A sign-in with Pinterest that has begun.
LOGIN_STATE_SECONDS = 30 * 60
# A finished sign-in with Pinterest that no integration uses.
UNUSED_LOGIN_SECONDS = 1 * _DAY

# The cookies `_pin_unauth` and `_epik`: a click id counts for about a year.
CLICK_COOKIE_SECONDS = 365 * _DAY
# The cookie of a browser in which a user has signed in, so that another person's guesses do not delay the next sign-in.
KNOWN_BROWSER_SECONDS = 90 * _DAY
