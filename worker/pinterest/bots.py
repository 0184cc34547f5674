"""Tell crawlers from visitors by their user agent."""

import re
from functools import lru_cache

_LONGEST = 1024

# What the kept list of crawlers leaves out: Pinterest's own old name, words that only programs use, and libraries.
# Cubot makes telephones.
_PROGRAM = re.compile(
    r"pinterest/0\.|(?<!cu)bot\b|crawl|spider|headless|lighthouse|monitor(ing)?\b|uptime"
    r"|^(curl|wget|python|java|go-http|okhttp|axios|node|php|ruby|perl|libwww|apache-httpclient|postman)\b"
    r"|googleother|google-|-google\b|meta-external|puppeteer|playwright|selenium|chatgpt-user|claude-|perplexity"
)


def is_bot(user_agent: str | None) -> bool:
    """Say whether a user agent is a known crawler's or program's; a missing one says nothing."""
    return bool(user_agent) and _is_bot(str(user_agent)[:_LONGEST])


# A look at the list takes about 0.1 ms, and a shop's visitors share few user agents.
@lru_cache(maxsize=4096)
def _is_bot(user_agent: str) -> bool:
    # Loaded here: the list takes three megabytes of every process, and most shops filter nothing.
    from crawleruseragents import is_crawler

    return bool(_PROGRAM.search(user_agent.strip().lower())) or is_crawler(user_agent)
