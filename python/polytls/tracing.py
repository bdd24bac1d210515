"""OpenTelemetry spans for TLS handshakes: `pip install polytls[tracing]`.

>>> import polytls.tracing
>>> configuration = polytls.TLSClientConfiguration(on_event=polytls.tracing.handshake_spans())

A handshake is a span named "TLS handshake": from ClientHello to the end of the handshake on this
side. Its attributes follow the semantic conventions for TLS
(https://opentelemetry.io/docs/specs/semconv/registry/attributes/tls/). It has an event for each
handshake message and alert. Nothing in it is secret, but server names and certificates say who
talks to whom.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from .constants import TLSVersion
from .info import ConnectionEvent, ConnectionInfo

if TYPE_CHECKING:
    from enum import IntEnum

    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = ["attributes", "handshake_spans"]

_VERSIONS: Final = {TLSVersion.TLSv1_2: "1.2", TLSVersion.TLSv1_3: "1.3"}
_KINDS: Final = {"client": trace.SpanKind.CLIENT, "server": trace.SpanKind.SERVER}
#: Spans of handshakes in progress that are remembered: connections may be abandoned.
_MOST: Final = 10_000


def handshake_spans(
    tracer_provider: TracerProvider | None = None,
) -> Callable[[ConnectionEvent], None]:
    """Return an `on_event` that records a span for each handshake.

    `tracer_provider`: where spans go; None: the global provider. A span is a child of the span that
    is current in the thread where its handshake begins. It can be used for any number of
    configurations.
    """
    return _Spans(trace.get_tracer("polytls", tracer_provider=tracer_provider))


def attributes(info: ConnectionInfo) -> dict[str, AttributeValue]:
    """Return the facts of a connection as attributes of the semantic conventions for TLS."""
    found: dict[str, AttributeValue | None] = {
        "tls.protocol.name": "tls",
        "tls.protocol.version": _VERSIONS.get(info.version) if info.version else None,
        "tls.cipher": _name(info.cipher),
        "tls.curve": _name(info.group),
        "tls.resumed": info.resumed,
        "tls.next_protocol": _text(info.alpn),
        "server.address": info.server_name,
        "polytls.implementation": info.implementation,
        "polytls.hello_retry_request": info.hello_retry_request,
        "polytls.handshake.bytes_sent": info.handshake_bytes_sent,
        "polytls.handshake.bytes_received": info.handshake_bytes_received,
        "polytls.handshake.round_trips": info.handshake_round_trips,
        "polytls.server_signature_scheme": _name(info.server_signature_scheme),
        "polytls.client_signature_scheme": _name(info.client_signature_scheme),
        "polytls.server_certificate_compression": _name(info.server_certificate_compression),
        "polytls.client_certificate_compression": _name(info.client_certificate_compression),
    }
    return {name: value for name, value in found.items() if value is not None}


class _Spans:
    """Opens a span with the first event of a connection, and ends it with its handshake."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[int, Span] = {}
        self._lock = Lock()

    def __call__(self, event: ConnectionEvent) -> None:
        if event.kind == "message" and event.message == 1:
            self._begin(event)
        with self._lock:
            span = self._open.get(event.connection)
        if span is None:
            return
        if event.kind == "message":
            size = event.size or 0
            sent = bool(event.sent)
            name = _name(event.message) or "message"
            span.add_event(name, {"polytls.sent": sent, "polytls.size": size})
        elif event.kind == "alert":
            name = _name(event.alert) or "alert"
            span.add_event("alert", {"polytls.sent": bool(event.sent), "polytls.alert": name})
        elif event.kind == "established" and event.info is not None:
            span.set_attributes({"tls.established": True, **attributes(event.info)})
            self._end(event)
        elif event.kind == "end":
            span.set_attribute("tls.established", False)
            if event.error is not None:
                span.set_attribute("error.type", type(event.error).__qualname__)
                span.set_status(trace.StatusCode.ERROR, str(event.error))
            self._end(event)

    def _begin(self, event: ConnectionEvent) -> None:
        with self._lock:
            if event.connection in self._open:
                return  # A HelloRetryRequest was answered.
        span = self._tracer.start_span("TLS handshake", kind=_KINDS[event.role])
        with self._lock:
            self._open[event.connection] = span
            oldest = next(iter(self._open)) if len(self._open) > _MOST else None
            abandoned = None if oldest is None else self._open.pop(oldest)
        if abandoned is not None:
            abandoned.end()

    def _end(self, event: ConnectionEvent) -> None:
        with self._lock:
            span = self._open.pop(event.connection, None)
        if span is not None:
            span.end()


def _name(number: IntEnum | int | None) -> str | None:
    if number is None:
        return None
    name: str = getattr(number, "name", f"0x{number:04X}")
    return name


def _text(protocol: object) -> str | None:
    if protocol is None:
        return None
    data = getattr(protocol, "value", protocol)
    return data.decode("ascii", "backslashreplace") if isinstance(data, bytes) else str(data)
