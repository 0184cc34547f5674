"""Connect with Pinterest: sign in, pick an ad account, and make the token that sends its events.

ConflictError is raised for everything that Pinterest refuses; the message is for the person who signs in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from worker.ledger.rows import LARGEST_ID
from worker.ledger.setup import ad_accounts, pinterest_connections, sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.pinterest_connections import Login, Reading
from worker.operations.caller import Caller, Change
from worker.operations.errors import ConflictError, InvalidError, NotFoundError
from worker.operations.setup.integrations import (
    IntegrationRecord,
    change_integration,
    create_integration,
    find_integration,
)
from worker.operations.setup.sources import change_source
from worker.pinterest.client.account_client import (
    AccountApiError,
    AccountClient,
    AdAccount,
    Tokens,
    missing_scopes,
)
from worker.pinterest.client.answer_decisions import ReasonClass
from worker.pinterest.custom_data.currencies import currency_code
from worker.pinterest.user_data.countries import country_code

# In place of a token in a form: the token is made when the form is saved.
TO_BE_MADE = "made-by-Pinterest"
_BACK, _FINISH = "/integrations/connect/back", "/integrations/connect/finish"
_EXPIRED = (
    "This sign-in has expired, was used already, or began in another session. Nothing was changed. Open these pages "
    "at {} and begin again; if it began on the command line, paste this page's address there."
)
_NO_APP = "Set PINTEREST_APP_ID and PINTEREST_APP_SECRET to those of your own Pinterest app, then restart this process."


@dataclass(frozen=True, slots=True)
class PinterestApp:
    """Hold the operator's own app at Pinterest; its id is empty where none is set."""

    api_url: str
    id: str
    secret: str
    management_url: str

    @property
    def redirect_uri(self) -> str:
        """Return the address that is registered with the app: Pinterest sends people nowhere else."""
        return self.management_url + _BACK

    @property
    def client(self) -> AccountClient:
        if not self.id:
            raise ConflictError(_NO_APP)
        return AccountClient(self.api_url, self.id, self.secret)


@dataclass(frozen=True, slots=True)
class _Connected:
    """Hold the result of a sign-in: what it was for, what Pinterest did not give, and whether the token changed."""

    login_id: int
    target: str
    missing: Sequence[str]
    has_new_token: bool = False


def begin_connecting(caller: Caller, app: PinterestApp, session: str, target: str = "") -> str:
    """Return the address on which a person gives access; ``target`` is an integration, a source or empty."""
    client = app.client
    caller.ledger.vault.prepare()
    with caller.ledger.write() as connection:
        state = pinterest_connections.begin_sign_in(
            connection, caller.ledger.vault, session, target, caller.now
        )
    return client.sign_in_url(app.redirect_uri, state)


def read_redirect(app: PinterestApp, text: str, sign_in_url: str) -> dict[str, str]:
    """Read what a person pasted: the whole address to which Pinterest sent the browser, or the code alone."""
    begun = dict(parse_qsl(urlsplit(sign_in_url).query))
    if "://" not in text:
        return {"code": text.strip(), "state": begun["state"]}
    parts = urlsplit(text.strip())
    if f"{parts.scheme}://{parts.netloc}{parts.path}" not in (
        app.management_url + _BACK,
        app.management_url + _FINISH,
    ):
        raise ConflictError(f"Pinterest sends the browser to {app.redirect_uri}, not to this address.")
    return dict(parse_qsl(parts.query))


def finish_connecting(
    caller: Caller, app: PinterestApp, session: str, answer: Mapping[str, str]
) -> _Connected:
    """Take the answer with which Pinterest sent the person back; its state counts once, in the same session.

    If the sign-in was for an integration, its ad account is read by it from now on. Its token for events is replaced
    only if that one ends or was refused.
    """
    with caller.changing() as change:
        state = answer.get("state", "")
        target = pinterest_connections.end_sign_in(
            change.connection, change.vault, session, state, change.now
        )
    if target is None:
        raise ConflictError(_EXPIRED.format(app.management_url))
    with _in_words("Pinterest did not accept the sign-in"):
        tokens = app.client.tokens(code=_code(answer), redirect_uri=app.redirect_uri)
    missing = missing_scopes(tokens.scope)
    if "ads:read" in missing:
        raise ConflictError(
            f"Pinterest gave access without {' and '.join(missing)}. Nothing was changed. "
            "Begin again and give all access that the page lists."
        )
    if target.startswith("int_"):
        return _connect_integration(caller, app, target, tokens, missing)
    with caller.changing() as change:
        login_id = pinterest_connections.insert_login(
            change.connection, change.vault, change.actor, change.now, **asdict(tokens)
        )
        change.record("pinterest.connect", f"sign-in {login_id}", {"scope": [None, tokens.scope]})
    return _Connected(login_id, target, missing)


def ad_account_choices(caller: Caller, app: PinterestApp, login_id: int, search: str = "") -> list[AdAccount]:
    """Return the ad accounts of a sign-in whose name or id contains a text, by name."""
    login = _find_login(caller, login_id)
    with _in_words("The ad accounts could not be read"):
        accounts = list(app.client.ad_accounts(login.access_token))
    text = search.strip().casefold()
    return sorted(
        (account for account in accounts if text in account.name.casefold() or text in account.id),
        key=lambda account: (account.name.casefold(), account.id),
    )


def ad_account_defaults(
    caller: Caller, app: PinterestApp, login_id: int, ad_account_id: str
) -> tuple[AdAccount, dict[str, str]]:
    """Return an ad account of a sign-in, and the country and currency that a new integration takes over, if known.

    Raises:
        InvalidError: the person may not use this ad account.
    """
    for account in ad_account_choices(caller, app, login_id):
        if account.id == ad_account_id:
            country, currency = account.country.upper(), account.currency.upper()
            defaults = {}
            if country_code(country) == country.lower():
                defaults["default_country"] = country
            if currency and currency_code(currency) == currency:
                defaults["default_currency"] = currency
            return account, defaults
    raise InvalidError("config.ad_account_id", "is not an ad account that this Pinterest account may use")


def create_connected_integration(
    caller: Caller, app: PinterestApp, usual_rate: AccountRateLimit, login_id: int, **body: Any
) -> IntegrationRecord:
    """Create an integration of an ad account of a sign-in; `TO_BE_MADE` as its token is replaced by a new one.

    The days of its source begin in the ad account's time zone unless the source has one.
    """
    config: dict[str, Any] = dict(body.pop("config"))
    account, _ = ad_account_defaults(caller, app, login_id, config["ad_account_id"])
    if config["access_token"] == TO_BE_MADE:
        config["access_token"] = _new_token(app, _find_login(caller, login_id).access_token)
    record = create_integration(caller, usual_rate, config=config, **body)
    with caller.changing() as change:
        _attach(change, find_integration(change.connection, record["id"]), login_id, account)
        source = sources.load_source(change.connection, record["source_id"])
    if source and not source.options.get("time_zone") and _is_zone(account.time_zone):
        change_source(caller, source.id, options={"time_zone": account.time_zone})
    return record


def defined_events(caller: Caller, app: PinterestApp, login_id: int, ad_account_id: str) -> list[str]:
    """Return the names of the events that the advertiser defined at Pinterest."""
    login = _find_login(caller, login_id)
    with _in_words("The events that you defined at Pinterest could not be read"):
        return app.client.defined_events(login.access_token, ad_account_id)


def reading_of(caller: Caller, ad_account_id: str) -> Reading | None:
    """Return by which sign-in an ad account is read, if it is connected."""
    with caller.ledger.read() as connection:
        readings = pinterest_connections.readings(connection)
    return next((reading for reading in readings if reading.ad_account_id == ad_account_id), None)


def _connect_integration(
    caller: Caller, app: PinterestApp, integration_id: str, tokens: Tokens, missing: Sequence[str]
) -> _Connected:
    with caller.ledger.read() as connection:
        current = find_integration(connection, integration_id)
        credential = ad_accounts.find_credential(connection, current.credential_id)
    with _in_words("The ad accounts could not be read"):
        accounts = {account.id: account for account in app.client.ad_accounts(tokens.access_token)}
    account = accounts.get(current.ad_account_id)
    if account is None:
        raise ConflictError(
            f"The person who signed in may not use ad account {current.ad_account_id}. Nothing was changed. "
            "Sign in with a Pinterest account that may use it."
        )
    reading = reading_of(caller, current.ad_account_id)
    with caller.changing() as change:
        values = asdict(tokens)
        if reading:
            login_id, actor = reading.login_id, change.actor
            pinterest_connections.replace_tokens(
                change.connection, change.vault, login_id, change.now, actor=actor, **values
            )
        else:
            login_id = pinterest_connections.insert_login(
                change.connection, change.vault, change.actor, change.now, **values
            )
        _attach(change, current, login_id, account)
    needs_token = (
        "token_expires_at" in current.config or credential.paused_class == ReasonClass.UNAUTHORIZED
    ) and not missing
    if needs_token:
        token = _new_token(app, tokens.access_token)
        rate = AccountRateLimit(credential.rate_limit_rps, credential.rate_limit_burst)
        config = {"access_token": token, "token_expires_at": None}
        change_integration(caller, integration_id, rate, config=config)
    return _Connected(login_id, integration_id, missing, needs_token)


def _attach(change: Change, integration: Integration, login_id: int, account: AdAccount) -> None:
    facts = {name: getattr(account, name) for name in ("name", "country", "currency", "time_zone")}
    pinterest_connections.attach_reading(
        change.connection, integration.ad_account, login_id, change.now, **facts
    )
    change.record("pinterest.connect", integration.id, {"ad_account": [None, account.name]})


def _new_token(app: PinterestApp, access_token: str) -> str:
    with _in_words("Pinterest did not make a token for events"):
        return app.client.conversion_token(access_token)


def _find_login(caller: Caller, login_id: int) -> Login:
    with caller.ledger.read() as connection:
        login = (
            pinterest_connections.load_login(connection, caller.ledger.vault, login_id)
            if login_id <= LARGEST_ID
            else None
        )
    if login is None:
        raise NotFoundError("sign-in", str(login_id))
    return login


def _code(answer: Mapping[str, str]) -> str:
    if answer.get("error") == "access_denied":
        raise ConflictError(
            "You gave no access at Pinterest, so nothing was changed. Begin again if that was a mistake."
        )
    if not answer.get("code"):
        raise ConflictError("Pinterest reported an error, so nothing was changed. Begin again.")
    return answer["code"]


def _is_zone(name: str) -> bool:
    try:
        return bool(name) and bool(ZoneInfo(name))
    except (ValueError, OSError, LookupError):
        return False


@contextmanager
def _in_words(problem: str) -> Iterator[None]:
    try:
        yield
    except AccountApiError as error:
        raise ConflictError(f"{problem}. {error}") from None
