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
    #: The version of Python that has it first, and the first that has it no more.
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (4, 0)


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
    # The name to verify after STARTTLS.
    Reliance("smtplib.SMTP", "_host", "starttls"),
    # Makes the connection to the server: TLS from the start begins there.
    Reliance("smtplib.SMTP", "_get_socket", "connect"),
    Reliance("imaplib.IMAP4", "_create_socket", "open"),
    Reliance("poplib.POP3", "_create_socket", "__init__"),
    Reliance("nntplib.NNTP", "_create_socket", "__init__"),
    # What answers are read through; closed before TLS begins, or let go of then.
    Reliance("smtplib.SMTP", "file", "getreply"),
    Reliance("imaplib.IMAP4", "file", "readline", until=(3, 14)),
    Reliance("imaplib.IMAP4", "_file", "open", since=(3, 14)),
    Reliance("imaplib.IMAP4", "_readbuf", "readline", since=(3, 14)),
    Reliance("poplib.POP3", "file", "_getline"),
    Reliance("nntplib.NNTP", "file", "_getline"),
    Reliance("ftplib.FTP", "file", "getline"),
    # The commands that begin TLS, by the context they are given.
    Reliance("smtplib.SMTP", "wrap_socket", "starttls"),
    Reliance("imaplib.IMAP4", "wrap_socket", "starttls"),
    Reliance("poplib.POP3", "wrap_socket", "stls"),
    # All that is read and sent, where the errors of connections become the module's own.
    Reliance("poplib.POP3", "_getline", "_getresp"),
    Reliance("poplib.POP3", "_putline", "_putcmd"),
    Reliance("nntplib.NNTP", "_getline", "_getresp"),
    Reliance("imaplib.IMAP4", "_simple_command", "noop"),
    # What the server has said so far, PREAUTH and capabilities among it.
    Reliance("imaplib.IMAP4", "untagged_responses", "_append_untagged"),
    # The connection for the next request, and what is sent with each.
    Reliance("xmlrpc.client.Transport", "_connection", "make_connection"),
    Reliance("xmlrpc.client.Transport", "_extra_headers", "make_connection"),
)
