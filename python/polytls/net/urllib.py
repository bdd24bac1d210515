"""`urllib.request` over TLS: `urlopen`, openers, and proxies, including HTTPS proxies."""

from __future__ import annotations

import functools
import urllib.request
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit

from ..configuration import TLSClientConfiguration
from ..interfaces import ClientContext
from .contexts import client_context
from .http import HTTPSConnection
from .private import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    _Handler = urllib.request.HTTPSHandler
else:
    # An opener only omits its own handler for a subclass of that, which a Python without `ssl` does
    # not have.
    _Handler = getattr(urllib.request, "HTTPSHandler", urllib.request.AbstractHTTPHandler)

__all__ = ["HTTPSHandler", "ProxyHandler", "build_opener", "urlopen"]

#: Set on a request that goes through an HTTPS proxy.
_SECURE_PROXY = "_polytls_secure_proxy"


class HTTPSHandler(_Handler):
    """Opens HTTPS URLs over polytls.

    `tls` and `accept_truncated_end` are those of `polytls.net.http.HTTPSConnection`; `tls` also
    applies to HTTPS proxies.
    """

    def __init__(
        self,
        debuglevel: int = 0,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
        accept_truncated_end: bool = False,
    ) -> None:
        # Not that of `HTTPSHandler`, which creates an `ssl` context.
        urllib.request.AbstractHTTPHandler.__init__(self, debuglevel)
        self._tls = client_context(tls)
        self._accept_truncated_end = accept_truncated_end

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open `req`. Raises URLError if the connection fails, with the reason as its cause."""
        try:
            return self.do_open(
                HTTPSConnection,
                req,
                tls=self._tls,
                proxy_tls=self._tls if getattr(req, _SECURE_PROXY, False) else None,
                accept_truncated_end=self._accept_truncated_end,
            )
        except URLError as error:
            if isinstance(error.reason, OSError):
                raise error from error.reason
            raise

    https_request = urllib.request.AbstractHTTPHandler.do_request_


class ProxyHandler(urllib.request.ProxyHandler):
    """Sends requests through proxies: those given, or those of the environment.

    Like `urllib.request.ProxyHandler`, except that it connects over TLS to a proxy whose URL starts
    with `https:`.
    """

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:
        """Direct `req` to `proxy`. Raises URLError if that type of proxy does not support HTTPS."""
        scheme = urlsplit(proxy).scheme.lower() if "://" in proxy else ""
        encrypted = req.type == "https"
        if encrypted and scheme not in ("", "http", "https"):
            raise URLError(f"the proxy for {type} has an unsupported scheme: {scheme}:")
        opened = super().proxy_open(req, proxy, type)
        through_it = req._tunnel_host is not None  # type: ignore[attr-defined]
        setattr(req, _SECURE_PROXY, encrypted and scheme == "https" and through_it)
        return opened


def build_opener(
    *handlers: urllib.request.BaseHandler | type[urllib.request.BaseHandler],
    tls: ClientContext | TLSClientConfiguration | None = None,
    accept_truncated_end: bool = False,
) -> urllib.request.OpenerDirector:
    """Return an opener like `urllib.request.build_opener`, for HTTPS over polytls.

    `tls` and `accept_truncated_end` are those of `HTTPSHandler`. Raises ValueError if they are
    combined with a handler for HTTPS.
    """
    ours: list[urllib.request.BaseHandler] = []
    if not _among(handlers, _Handler):
        ours.append(HTTPSHandler(tls=tls, accept_truncated_end=accept_truncated_end))
    elif tls is not None or accept_truncated_end:
        raise ValueError("give tls and accept_truncated_end to the HTTPSHandler")
    if not _among(handlers, urllib.request.ProxyHandler):
        ours.append(ProxyHandler())
    return urllib.request.build_opener(*ours, *handlers)


def urlopen(
    url: str | urllib.request.Request,
    data: Any = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    *,
    tls: ClientContext | TLSClientConfiguration | None = None,
    accept_truncated_end: bool = False,
) -> Any:
    """Open a URL like `urllib.request.urlopen`, with HTTPS over polytls.

    `tls` and `accept_truncated_end` are those of `HTTPSHandler`. Without them all calls share an
    opener; proxies of the environment are then those of the first call.
    """
    if tls is None and not accept_truncated_end:
        return _shared_opener().open(url, data, timeout)
    opener = build_opener(tls=tls, accept_truncated_end=accept_truncated_end)
    return opener.open(url, data, timeout)


@functools.cache
def _shared_opener() -> urllib.request.OpenerDirector:
    return build_opener()


def _among(handlers: tuple[Any, ...], kind: type) -> bool:
    return any(
        issubclass(handler, kind) if isinstance(handler, type) else isinstance(handler, kind)
        for handler in handlers
    )
