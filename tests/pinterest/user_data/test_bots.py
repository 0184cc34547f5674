"""The bot filter recognises crawlers by their user agent."""

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from tests.pinterest.conftest import browser, run, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Filtered, Mapped, _is_bot

CRAWLER = "Mozilla/5.0 (compatible; Pinterestbot/1.0; +http://www.pinterest.com/bot.html)"


@pytest.mark.parametrize(
    "agent",
    [
        CRAWLER,
        "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
        "facebookexternalhit/1.1",
        "python-requests/2.32",
        "curl/8.5.0",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0)",
        "Mozilla/5.0 Chrome-Lighthouse",
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)",
        "Mediapartners-Google",
        "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)",
    ],
)
def test_a_crawler_is_recognised(agent: str) -> None:
    assert _is_bot(agent)


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "",
        "Mozilla/5.0 ...",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 [Pinterest/iOS]",
        "Mozilla/5.0 (Linux; Android 13; SM-G991B) Version/4.0 Chrome/120.0 Mobile Safari/537.36 [Pinterest/Android]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 [FBAN/FBIOS;FBAV/441.0]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 Instagram 309.0",
        "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
    ],
)
def test_a_visitors_browser_is_not_a_crawler(agent: str | None) -> None:
    assert not _is_bot(agent)


def test_every_crawler_of_the_list_is_recognised() -> None:
    agents = [agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]]
    assert len(agents) > 1000
    assert [agent for agent in agents if not _is_bot(agent)] == []


def test_the_filter_is_off_unless_switched_on() -> None:
    received = browser(user_agent=CRAWLER)
    (sent,) = run(track("Lead"), received=received)
    assert isinstance(sent, Mapped)
    assert run(track("Lead"), received=received, options=Options(bot_filter=True)) == [
        Filtered("evt_1", "Lead", "the user agent is a crawler's")
    ]
