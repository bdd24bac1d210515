"""What `polytls.net` uses of the standard library, and of uvicorn, beyond their documentation.

Each line: the class, the attribute, and a method of theirs that must use it for our override or
access to work. Tests check them against the running Python.
"""

from __future__ import annotations

import socket
from typing import Any, Final, NamedTuple

__all__ = ["DEFAULT_TIMEOUT", "RELIED_ON", "Reliance"]

#: The default of `timeout` in signatures of the standard library: `socket.getdefaulttimeout()`.
DEFAULT_TIMEOUT: Final[Any] = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]


class Reliance(NamedTuple):
    """An undocumented attribute."""

    owner: str
    attribute: str
    #: Of `owner`.
    used_by: str
    #: The first version of Python that has it, and the first that no longer has it.
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (4, 0)


RELIED_ON: Final = (
    # Makes the protocol of a connection, by keywords alone; has no TLS of its own.
    Reliance("uvicorn.Server", "http_protocol_class", "startup"),
    Reliance("uvicorn.Server", "_log_started_message", "startup"),
    # The application that a protocol calls.
    Reliance("uvicorn.protocols.http.h11_impl.H11Protocol", "app", "handle_events"),
    # Connects to the server or the proxy; replaced for an HTTPS proxy.
    Reliance("http.client.HTTPConnection", "_create_connection", "connect"),
    # The host behind a proxy: the name to verify.
    Reliance("http.client.HTTPConnection", "_tunnel_host", "connect"),
    # Created for the response to CONNECT: `connect` may get another class in the meantime.
    Reliance("http.client.HTTPConnection", "response_class", "_tunnel"),
    # Set if `set_proxy` requested CONNECT.
    Reliance("urllib.request.Request", "_tunnel_host", "set_proxy"),
    # Read from; None once the body has been read.
    Reliance("http.client.HTTPResponse", "fp", "read"),
    # The remaining length of a body with Content-Length.
    Reliance("http.client.HTTPResponse", "length", "read"),
    Reliance("http.client.HTTPResponse", "chunked", "read"),
    # The name to verify after STARTTLS.
    Reliance("smtplib.SMTP", "_host", "starttls"),
    # Connects to the server: TLS from the start begins there.
    Reliance("smtplib.SMTP", "_get_socket", "connect"),
    Reliance("imaplib.IMAP4", "_create_socket", "open"),
    Reliance("poplib.POP3", "_create_socket", "__init__"),
    Reliance("nntplib.NNTP", "_create_socket", "__init__"),
    # What responses are read from; closed or released before TLS starts.
    Reliance("smtplib.SMTP", "file", "getreply"),
    Reliance("imaplib.IMAP4", "file", "readline", until=(3, 14)),
    Reliance("imaplib.IMAP4", "_file", "open", since=(3, 14)),
    Reliance("imaplib.IMAP4", "_readbuf", "readline", since=(3, 14)),
    Reliance("poplib.POP3", "file", "_getline"),
    Reliance("nntplib.NNTP", "file", "_getline"),
    Reliance("ftplib.FTP", "file", "getline"),
    # The commands that start TLS, with the context they are given.
    Reliance("smtplib.SMTP", "wrap_socket", "starttls"),
    Reliance("imaplib.IMAP4", "wrap_socket", "starttls"),
    Reliance("poplib.POP3", "wrap_socket", "stls"),
    # Everything that is read and sent, where connection errors become the module's own.
    Reliance("poplib.POP3", "_getline", "_getresp"),
    Reliance("poplib.POP3", "_putline", "_putcmd"),
    Reliance("nntplib.NNTP", "_getline", "_getresp"),
    Reliance("imaplib.IMAP4", "_simple_command", "noop"),
    # What the server has sent so far, including PREAUTH and capabilities.
    Reliance("imaplib.IMAP4", "untagged_responses", "_append_untagged"),
    # The connection for the next request, and what is sent with each.
    Reliance("xmlrpc.client.Transport", "_connection", "make_connection"),
    Reliance("xmlrpc.client.Transport", "_extra_headers", "make_connection"),
)
