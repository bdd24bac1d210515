"""`polytls.tracing`: the spans of handshakes, in OpenTelemetry's own memory."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import polytls
from polytls import tracing
from polytls.testing import CertificateAuthority, tie

NAMES = ["rustls", "openssl", "stdlib"]


class Traced:
    """Contexts whose handshakes are recorded."""

    def __init__(self, name: str, **given: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        listener = tracing.handshake_spans(self.provider)
        tls = polytls.implementation(name)
        ca = CertificateAuthority()
        self.client = tls.client_context(
            polytls.TLSClientConfiguration(
                trust_store=ca.trust_store(), on_event=listener, inner_protocols=[b"h2"], **given
            )
        )
        self.server = tls.server_context(
            polytls.TLSServerConfiguration(
                [ca.issue("localhost")], on_event=listener, inner_protocols=[b"h2"]
            )
        )

    def connect(self, name: str = "localhost") -> Any:
        return tie(self.client.create_buffer(name), self.server.create_buffer())

    def spans(self) -> dict[SpanKind, ReadableSpan]:
        found = self.exporter.get_finished_spans()
        assert len(found) == 2
        return {span.kind: span for span in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_handshake_is_a_span_on_each_side(name: str) -> None:
    traced = Traced(name)
    pair = traced.connect()
    spans = traced.spans()
    for kind, side in ((SpanKind.CLIENT, pair.client), (SpanKind.SERVER, pair.server)):
        span, info = spans[kind], side.info
        assert span.name == "TLS handshake"
        attributes = dict(span.attributes or {})
        assert attributes["tls.protocol.name"] == "tls"
        assert attributes["tls.protocol.version"] == "1.3"
        assert attributes["tls.cipher"] == info.cipher.name
        assert attributes["tls.established"] is True
        assert attributes["tls.resumed"] is False
        assert attributes["tls.next_protocol"] == "h2"
        assert attributes["server.address"] == "localhost"
        assert attributes["polytls.implementation"] == name
        assert attributes["polytls.handshake.round_trips"] == 1
        assert span.status.status_code is StatusCode.UNSET
        assert [event.name for event in span.events][:2] == ["client_hello", "server_hello"]
        assert span.end_time is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_handshake_that_fails_is_an_error(name: str) -> None:
    traced = Traced(name)
    with pytest.raises(polytls.TLSError):
        traced.connect("other.example")
    span = traced.exporter.get_finished_spans()[0]
    assert span.kind is SpanKind.CLIENT
    attributes = dict(span.attributes or {})
    assert attributes["tls.established"] is False
    assert attributes["error.type"] == "CertificateVerificationError"
    assert span.status.status_code is StatusCode.ERROR


def test_a_span_belongs_to_the_one_that_is_current() -> None:
    traced = Traced("rustls")
    tracer = traced.provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        traced.connect()
    children = [
        span for span in traced.exporter.get_finished_spans() if span.name == "TLS handshake"
    ]
    assert len(children) == 2
    for span in children:
        assert span.parent is not None
        assert span.parent.span_id == request.get_span_context().span_id


def test_abandoned_handshakes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_MOST", 3)
    traced = Traced("rustls")
    for _ in range(5):
        with pytest.raises(polytls.WantReadError):
            traced.client.create_buffer("localhost").do_handshake()
    assert len(traced.exporter.get_finished_spans()) == 2
