"""Yahoo's chart endpoint, with yfinance as the transport and nothing else of it.

yfinance supplies the browser's TLS fingerprint, cookie and crumb, and returns status and bytes. Its
other calls swallow errors, remember failures and rewrite prices, so `yahoo_chart` parses the
answer: `close` comes adjusted for splits, `adjclose` for dividends too.

Every request of yfinance goes through a session of ours. It sends requests and follows redirects to
Yahoo's own hosts only, by TLS, and reads bodies up to a bound.

Before the first answer yfinance fetches a cookie and a crumb, by requests with timeouts of its own,
one after the other and under one lock. On a network that drops packets that takes two minutes. So
our session gives every request only what is left of the fetch's deadline.
"""

import contextlib
import datetime as dt
import re
import tempfile
import threading
import time
import warnings
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import tenacity

from market.providers.base import (
    Answer,
    AnyRequest,
    Capabilities,
    Intraday,
    IntradayRequest,
    Kind,
    Payload,
    Request,
)
from market.providers.bounds import MOST_BYTES, MOST_KEPT, path_segment
from market.providers.yahoo_chart import classify, is_stale_crumb
from sql.descriptors import is_short

_URL = "https://query2.finance.yahoo.com/v8/finance/chart/"
# Of one request, and of a fetch with its cookie, crumb and redirects.
_TIMEOUT_SECONDS = 15.0
_FETCH_SECONDS = 25.0
# yfinance parses the pages for cookie and consent as HTML: a kilobyte of memory for a tag.
_MOST_PAGE_BYTES = 256 * 1024
_MOST_REDIRECTS = 5
# Too short for a request; and curl takes a timeout that rounds to 0 ms for no timeout.
_LEAST_SECONDS = 0.01
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_YAHOO_HOST = re.compile(r"(?:[a-z0-9-]+\.)*yahoo\.com")
_ODD = re.compile(r"[^\x21-\x7e]|[\\<>\"`{}|]")


class _RefusedError(OSError):
    """Yahoo's answer leads away from Yahoo, or is larger than any good answer.

    An OSError, so that yfinance goes on without a cookie when the request for one is refused.
    """


class Yahoo:
    """Daily bars of nearly everything; takes about one request a second.

    seconds: the deadline of a fetch, cookies included.
    """

    name = "yahoo"
    canary = "SPY"
    # It answers 422 for five-minute bars that are older.
    capabilities = Capabilities(intraday=Intraday(days=60))

    def __init__(self, seconds: float = _FETCH_SECONDS) -> None:
        self._seconds = seconds
        self._fetch = threading.local()  # .ends: the deadline of this thread's fetch
        self._lock = threading.Lock()
        self._transport: Any = None
        self._cookies: tempfile.TemporaryDirectory[str] | None = None
        self._throttled: type[Exception]
        self._timeout: type[Exception]

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol; status and body decide the class of the answer."""
        midnight = dt.datetime.combine(request.start, dt.time(), dt.UTC)
        end = dt.datetime.combine(request.end, dt.time(), dt.UTC)
        params = {
            # A day more on either side: sessions east of Greenwich open the day before, UTC.
            "period1": int((midnight - dt.timedelta(days=1)).timestamp()),
            "period2": int((end + dt.timedelta(days=2)).timestamp()),
            "interval": "1d",
            "events": "div,splits",
        }
        return self._chart(request, params)

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch the five-minute bars of one symbol."""
        params = {
            "period1": int(request.since.timestamp()),
            "period2": int(request.until.timestamp()),
            "interval": "5m",
            "includePrePost": "false",
        }
        return self._chart(request, params)

    def _chart(self, request: AnyRequest, params: dict[str, Any]) -> Answer:
        try:
            segment = path_segment(request.symbol)
        except ValueError as error:
            return Answer(Kind.BAD_ANSWER, message=str(error))
        transport = self._ready()
        self._fetch.ends = time.monotonic() + self._seconds
        try:
            response = self._get(transport, _URL + segment, params)
            if is_stale_crumb(response.status_code, response.content):
                _forget_crumb(transport)
                response = self._get(transport, _URL + segment, params)
        except self._throttled as error:
            return Answer(Kind.THROTTLED, message=f"HTTP 429: {error}")
        except _RefusedError as error:
            return Answer(Kind.BAD_ANSWER, message=str(error))
        except OSError as error:
            if is_short(error):
                raise  # no descriptor is left: not a fault of Yahoo
            # curl_cffi's errors are OSErrors; curl's message is their first sentence.
            return Answer(
                Kind.DOWN, message=f"{type(error).__name__}: {str(error).split('. See')[0]}"
            )
        except Exception as error:  # noqa: BLE001 - yfinance raises anything for an unexpected page
            return Answer(Kind.BAD_ANSWER, message=f"yfinance: {type(error).__name__}: {error}")
        answer = classify(
            request, response.status_code, response.content, response.headers.get("retry-after")
        )
        # The address without the crumb that yfinance adds, which is a key of a kind.
        url = f"{_URL}{segment}?{urlencode(params)}"
        body = bytes(response.content)
        if answer.kind is not Kind.OK:
            body = body[:MOST_KEPT]
        return replace(answer, payload=Payload(url, int(response.status_code), body))

    def _get(self, transport: Any, url: str, params: dict[str, Any]) -> Any:
        """Try a refused or reset connection three times; a timeout or any answer once."""

        def is_passing(error: BaseException) -> bool:
            return isinstance(error, OSError) and not isinstance(
                error, (self._timeout, _RefusedError)
            )

        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_passing),
            wait=tenacity.wait_random_exponential(multiplier=0.3, max=3),
            stop=tenacity.stop_after_attempt(3),
            reraise=True,
        ):
            with attempt:
                return transport.get(url, params=params, timeout=_TIMEOUT_SECONDS)
        raise AssertionError("unreachable: the last attempt raises")

    def _ready(self) -> Any:
        # Imported here, because it takes a second and loads pandas.
        with self._lock:
            if self._transport is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    import yfinance.cache  # noqa: PLC0415
                    import yfinance.data  # noqa: PLC0415
                    import yfinance.exceptions  # noqa: PLC0415
                    from curl_cffi.curl import CURL_WRITEFUNC_ERROR  # noqa: PLC0415
                    from curl_cffi.requests import Session  # noqa: PLC0415
                    from curl_cffi.requests.exceptions import (  # noqa: PLC0415
                        RequestException,
                        Timeout,
                    )

                fetch = self._fetch

                class Hurried(Session[Any]):
                    def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
                        """Send a request, and follow redirects within Yahoo."""
                        for _ in range(_MOST_REDIRECTS):
                            _check_address(url)
                            response = self._send(method, url, options)
                            location = response.headers.get("location")
                            if response.status_code not in _REDIRECTS or not location:
                                return response
                            url = urljoin(url, location)
                            # The new address has its own query.
                            options = {**options, "params": None}
                            if response.status_code not in {307, 308}:
                                method, options = "GET", {**options, "data": None, "json": None}
                        raise _RefusedError(f"more than {_MOST_REDIRECTS} redirects")

                    def _send(self, method: Any, url: str, options: dict[str, Any]) -> Any:
                        left = fetch.ends - time.monotonic()
                        if left < _LEAST_SECONDS:
                            raise Timeout("no answer within the time of a fetch")
                        # curl passes on the decompressed body in pieces of 16 kB.
                        most = MOST_BYTES if url.startswith(_URL) else _MOST_PAGE_BYTES
                        body = bytearray()
                        refused: list[str] = []

                        def take(piece: bytes) -> int:
                            body.extend(piece)
                            if len(body) > most:
                                refused.append(f"no end after {most} bytes")
                                return CURL_WRITEFUNC_ERROR
                            return len(piece)

                        timeout = min(options.get("timeout") or left, left)
                        ours = {
                            "timeout": timeout,
                            "allow_redirects": False,
                            "content_callback": take,
                        }
                        try:
                            response = super().request(method, url, **{**options, **ours})
                        except RequestException:
                            if refused:
                                raise _RefusedError(refused[0]) from None
                            raise
                        response.content = bytes(body)
                        return response

                # The default cookie cache is SQLite in the home folder, which may not be writable.
                self._cookies = tempfile.TemporaryDirectory(
                    prefix="reckoner-yahoo-", ignore_cleanup_errors=True
                )
                yfinance.cache.set_cache_location(self._cookies.name)
                warnings.filterwarnings("ignore", module="yfinance")
                self._throttled = yfinance.exceptions.YFRateLimitError
                self._timeout = Timeout
                self._transport = yfinance.data.YfData(session=Hurried(impersonate="chrome"))
            return self._transport


def _forget_crumb(transport: Any) -> None:
    """Make yfinance fetch a cookie and a crumb anew; both of its own tries kept a stale cookie."""
    import yfinance.cache  # noqa: PLC0415 - loaded already

    with transport._cookie_lock:  # noqa: SLF001 - yfinance has no call for it; its version is pinned
        transport._session.cookies.clear()  # noqa: SLF001
        transport._cookie = transport._crumb = None  # noqa: SLF001
        yfinance.cache.get_cookie_cache().store("curlCffi", None)


def _check_address(url: str) -> None:
    """Raise _RefusedError unless the address is one of Yahoo's own hosts, by TLS.

    Python and curl may read an odd address differently. So one with a backslash, a control, a space
    or a user before an @ is refused.
    """
    parts = None
    with contextlib.suppress(ValueError):  # not a port, or not a host
        parts = urlsplit(url)
        if parts.port not in {None, 443}:
            parts = None
    host = (parts.hostname or "") if parts else ""
    if (
        parts is None
        or parts.scheme != "https"
        or "@" in parts.netloc
        or _ODD.search(url)
        or not _YAHOO_HOST.fullmatch(host)
    ):
        raise _RefusedError(f"a redirect that leaves Yahoo is not followed: {url[:2000]!r}")
