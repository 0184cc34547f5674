"""Tell crawlers from visitors by their user agent."""

import re
from functools import lru_cache

_LONGEST = 1024

# Pinterest's own first. Words that only programs use stand for the many; names for those that do without.
# Cubot makes telephones.
_BOT = re.compile(
    r"pinterest(bot|/0\.)|(?<!cu)bot\b|crawl|spider|slurp|headless|lighthouse|pagespeed|preview|monitor(ing)?\b|uptime"
    r"|^(curl|wget|python|java|go-http|okhttp|axios|node|php|ruby|perl|libwww|apache-httpclient|postman)\b"
    r"|facebookexternalhit|facebookcatalog|meta-external|whatsapp/|googleother|google-|feedfetcher|mediapartners"
    r"|apis-google|bingpreview|baiduspider|yandex\w*bot|ia_archiver|archive\.org|bytespider|petalbot|semrush|ahrefs"
    r"|mj12|dataforseo|screaming frog|phantomjs|puppeteer|playwright|selenium|gtmetrix|pingdom|statuscake"
    r"|chatgpt-user|claude-|perplexity|ccbot|amazonbot|applebot|scrapy|httrack|nutch|embedly"
    r"|quora link|skypeuripreview"
)


def is_bot(user_agent: str | None) -> bool:
    """Say whether a user agent is a known crawler's or program's; a missing one says nothing."""
    return bool(user_agent) and _is_bot(str(user_agent)[:_LONGEST])


@lru_cache(maxsize=4096)
def _is_bot(user_agent: str) -> bool:
    return bool(_BOT.search(user_agent.strip().lower()))
