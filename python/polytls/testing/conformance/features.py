"""The features that the kit asks for, in the order in which an author learns them.

Cases run in this order. Where a base case fails, the run stops: nothing after it can succeed. The
summary at the end is by these features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FEATURES", "Feature", "feature_of", "place_of"]


@dataclass(frozen=True)
class Feature:
    """Cases that belong together."""

    title: str
    #: Modules, without `test_`, in order.
    modules: tuple[str, ...]
    #: Whether everything behind it relies on it.
    is_base: bool = False


FEATURES: Final = (
    Feature("the first steps", ("basics",), is_base=True),
    Feature("buffers", ("buffer", "buffer_end", "buffer_objects", "fused_calls", "driven_buffers")),
    Feature(
        "handshakes",
        (
            "handshake",
            "certificate_compression",
            "max_fragment",
            "handshake_facts",
            "server_names",
            "hostile_peers",
            "hello_retry_requests",
            "alerts",
            "sealed_alerts",
            "ech",
            "ech_answers",
            "ech_servers",
        ),
    ),
    Feature("configurations", ("bad_input", "encodings", "more")),
    Feature(
        "verdicts",
        (
            "verification",
            "chains",
            "stores",
            "bad_certificates",
            "odd_certificates",
            "unreadable_leaves",
            "explanations",
            "pins",
            "revocation",
            "staples",
            "peer_verifier",
            "refusals",
            "judged_handshakes",
            "insecure_contexts",
        ),
    ),
    Feature("client certificates", ("client_authentication", "signers", "preferences")),
    Feature("sessions", ("resumption", "named_sessions", "fleets", "early_data", "clocks")),
    Feature("what others are told", ("exporters", "key_log", "events")),
    Feature("the first steps of sockets", ("socket_basics",), is_base=True),
    Feature(
        "sockets",
        (
            "socket_connections",
            "socket_data",
            "socket_timeouts",
            "socket_nonblocking",
            "socket_listeners",
            "socket_client_certificates",
            "retrying",
        ),
    ),
    Feature(
        "the ends of connections",
        ("socket_ends", "socket_truncated_ends", "socket_delivery", "socket_shutdown"),
    ),
    Feature(
        "more of sockets",
        ("socket_surface", "socket_files", "socket_wrap", "socket_unwrap", "wrapped_verdicts"),
    ),
    Feature(
        "threads, signals and processes",
        (
            *("socket_threads", "socket_interrupts", "socket_signals", "slow_callbacks"),
            *("socket_fork", "exit"),
        ),
    ),
    Feature("certificate reloading", ("reload",)),
    Feature("what objects claim and leave", ("claims", "leftovers")),
)

_PLACES: Final = {
    f"test_{module}": (place, feature)
    for place, (module, feature) in enumerate(
        (module, feature) for feature in FEATURES for module in feature.modules
    )
}


def place_of(module: str) -> int:
    """Return where a module of the kit stands in the order; KeyError if it has no feature."""
    return _PLACES[module][0]


def feature_of(module: str) -> Feature:
    """Return the feature that a module of the kit is about."""
    return _PLACES[module][1]
