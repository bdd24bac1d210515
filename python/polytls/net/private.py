"""What `polytls.net` relies on of the standard library beyond its documentation.

Each line: the class, the attribute, and a method of the standard library's that has to use it for
our override or access to have its effect. The tests hold them against the running Python.
"""

from __future__ import annotations

import socket
from typing import Any, Final, NamedTuple

__all__ = ["DEFAULT_TIMEOUT", "RELIED_ON", "Reliance"]

#: Stands for `socket.getdefaulttimeout()` in signatures of the standard library.
DEFAULT_TIMEOUT: Final[Any] = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]


class Reliance(NamedTuple):
    """One attribute that is not documented."""

    owner: str
    attribute: str
    #: Of `owner`.
    used_by: str


RELIED_ON: Final = (
    # Makes the connection to the server or the proxy; replaced where the proxy is an HTTPS one.
    Reliance("http.client.HTTPConnection", "_create_connection", "connect"),
    # The host behind a proxy: the name to verify.
    Reliance("http.client.HTTPConnection", "_tunnel_host", "connect"),
    # Made for the answer to CONNECT: `connect` may be given another class meanwhile.
    Reliance("http.client.HTTPConnection", "response_class", "_tunnel"),
    # Set where `set_proxy` asked for CONNECT.
    Reliance("urllib.request.Request", "_tunnel_host", "set_proxy"),
    # Read from, and None once the body has been read.
    Reliance("http.client.HTTPResponse", "fp", "read"),
    # What is left of a body with Content-Length.
    Reliance("http.client.HTTPResponse", "length", "read"),
    Reliance("http.client.HTTPResponse", "chunked", "read"),
)
