"""The errors: one positional argument, facts as attributes, copies that keep them."""

from __future__ import annotations

import copy
import errno
import pickle
import socket
from collections.abc import Callable

import pytest

import polytls
from polytls import AlertDescription, errors

CHAIN = (b"\x30\x03leaf", b"\x30\x03root")

#: Each class with its base, and the facts that it is made with.
CLASSES: list[tuple[type[errors.TLSError], type[OSError], dict[str, object]]] = [
    (errors.TLSError, OSError, {}),
    (errors.WantReadError, errors.TLSError, {}),
    (errors.WantWriteError, errors.TLSError, {}),
    (errors.RaggedEOF, errors.TLSError, {"during_handshake": True}),
    (
        errors.ConfigurationError,
        errors.TLSError,
        {"field": "ciphers", "implementation": "rustls"},
    ),
    (
        errors.CertificateVerificationError,
        errors.TLSError,
        {
            "reason": errors.VerificationFailure.EXPIRED,
            "hostname": "example.com",
            "chain": CHAIN,
        },
    ),
    (errors.AlertReceived, errors.TLSError, {"alert": 40}),
    (errors.PeerRejectedCertificate, errors.AlertReceived, {"alert": 116}),
    (errors.PeerIncompatible, errors.TLSError, {}),
    (errors.ECHRejected, errors.TLSError, {"public_name": "cover.example"}),
    (errors.PeerMisbehaved, errors.TLSError, {}),
    (errors.NotTLSError, errors.PeerMisbehaved, {}),
]

#: Those that say no more than that a call would have to wait.
SIGNALS = (errors.WantReadError, errors.WantWriteError)

each_class = pytest.mark.parametrize(
    ("kind", "base", "facts"), CLASSES, ids=[kind.__name__ for kind, _, _ in CLASSES]
)


def through_pickle(protocol: int) -> Callable[[errors.TLSError], object]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


COPIERS: dict[str, Callable[[errors.TLSError], object]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": through_pickle(protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@each_class
def test_an_error_is_an_oserror_whose_message_is_all_it_says(
    kind: type[errors.TLSError], base: type[OSError], facts: dict[str, object]
) -> None:
    error = kind("the message", **facts)
    assert kind.__base__ is base
    assert str(error) == "the message"
    assert error.args == ("the message",)
    assert error.errno == (errno.EAGAIN if kind in SIGNALS else None)
    assert error.strerror is None


@each_class
def test_a_second_positional_argument_is_refused(
    kind: type[errors.TLSError], base: type[OSError], facts: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind(11, "Resource temporarily unavailable", **facts)  # type: ignore[call-arg, arg-type]


@each_class
def test_facts_are_attributes(
    kind: type[errors.TLSError], base: type[OSError], facts: dict[str, object]
) -> None:
    error = kind("the message", **facts)
    assert {name: getattr(error, name) for name in facts} == facts


@each_class
@pytest.mark.parametrize("copier", COPIERS.values(), ids=COPIERS)
def test_a_copy_keeps_class_message_and_facts(
    kind: type[errors.TLSError],
    base: type[OSError],
    facts: dict[str, object],
    copier: Callable[[errors.TLSError], object],
) -> None:
    error = kind("the message", **facts)
    error.add_note("a note")
    again = copier(error)
    assert again is not error
    assert type(again) is kind
    assert str(again) == "the message"
    assert vars(again) == vars(error)
    assert repr(again) == repr(error)
    assert isinstance(again, errors.TLSError)
    assert again.errno == error.errno


@each_class
def test_errors_without_a_message_can_be_raised(
    kind: type[errors.TLSError], base: type[OSError], facts: dict[str, object]
) -> None:
    with pytest.raises(OSError, match=r"^$") as caught:
        raise kind(**facts)
    assert caught.type is kind


@pytest.mark.parametrize("kind", SIGNALS)
def test_the_two_signals_are_what_plain_sockets_raise(kind: type[errors.TLSError]) -> None:
    with pytest.raises(BlockingIOError) as caught:
        raise kind
    assert caught.type is kind
    # Without it files over sockets would take it for a fault.
    assert caught.value.errno == errno.EAGAIN
    for other in (errors.TLSError, errors.RaggedEOF, errors.PeerMisbehaved):
        assert not issubclass(other, BlockingIOError)
    # Of buffered files; nothing was written here.
    with pytest.raises(AttributeError):
        caught.value.characters_written  # noqa: B018 - it raises


def test_a_subclass_of_an_implementation_survives_pickling() -> None:
    error = ImplementationError("sunspots", code=7)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (ImplementationError, "sunspots", 7)


class ImplementationError(errors.TLSError):
    """An error with a constructor that unpickling could not guess."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(what)
        self.code = code


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.TLSError("broken"), "TLSError('broken')"),
        (errors.RaggedEOF("cut"), "RaggedEOF('cut', during_handshake=False)"),
        (
            errors.ConfigurationError("no", field="groups"),
            "ConfigurationError('no', field='groups', implementation=None)",
        ),
        (errors.AlertReceived("no", alert=40), "AlertReceived('no', alert=40)"),
        (
            errors.CertificateVerificationError(
                "no", reason=errors.VerificationFailure.REVOKED, hostname="a.test", chain=CHAIN
            ),
            "CertificateVerificationError('no', reason=VerificationFailure.REVOKED, "
            "hostname='a.test', chain=<2 certificates>, index=None)",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_repr_shows_the_facts_but_no_certificates(error: errors.TLSError, expected: str) -> None:
    assert repr(error) == expected


def test_an_explanation_begins_with_the_reason_and_ends_with_what_to_do() -> None:
    error = errors.CertificateVerificationError(
        "the certificate of a.test ended yesterday", reason=errors.VerificationFailure.EXPIRED
    )
    assert error.explain().splitlines() == [
        "expired: the certificate of a.test ended yesterday",
        "To fix: this is up to the peer's operator",
    ]
    told = errors.CertificateVerificationError("no", explanation="the whole story")
    assert told.explain() == "the whole story"


def test_every_error_can_be_explained() -> None:
    assert errors.TLSError("an internal error").explain() == "an internal error"
    refused = errors.PeerRejectedCertificate("refused", alert=AlertDescription.unknown_ca)
    assert refused.explain().splitlines() == [
        "refused",
        "the alert means: the chain does not lead to a CA that the peer trusts",
        "To fix: this is up to you",
    ]
    assert errors.AlertReceived("an alert", alert=200).explain() == "an alert"
    assert errors.ConfigurationError("no").responsible is errors.Responsible.YOU


def test_every_alert_has_a_meaning() -> None:
    meanings = [alert.meaning for alert in AlertDescription]
    assert all(meanings)
    assert len({*meanings}) == len(meanings)


def test_the_certificate_at_fault_is_one_of_the_chain() -> None:
    error = errors.CertificateVerificationError("no", chain=CHAIN, index=1)
    assert error.certificate == CHAIN[1]
    assert errors.CertificateVerificationError("no", chain=CHAIN).certificate is None


def test_a_chain_is_kept_as_a_tuple() -> None:
    error = errors.CertificateVerificationError("no", chain=list(CHAIN))
    assert error.chain == CHAIN


def test_verification_failures_are_told_in_lower_case_words() -> None:
    values = [failure.value for failure in errors.VerificationFailure]
    assert values == [
        failure.name.lower().replace("_", " ") for failure in errors.VerificationFailure
    ]
    assert len(values) == 18


@each_class
def test_every_error_is_public_and_says_what_it_means(
    kind: type[errors.TLSError], base: type[OSError], facts: dict[str, object]
) -> None:
    assert getattr(polytls, kind.__name__) is kind
    assert kind.__doc__
    assert "Raised" in kind.__doc__
    assert "fault" in kind.__doc__ or "unaffected" in kind.__doc__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (OSError(errno.EHOSTUNREACH, "no route to host"), True),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (OSError(errno.EMFILE, "too many open files"), False),
        (FileNotFoundError(), False),
        (polytls.RaggedEOF(during_handshake=True), True),
        (polytls.RaggedEOF(), False),
        (polytls.CertificateVerificationError(), False),
        (polytls.AlertReceived(alert=40), False),
        (polytls.ConfigurationError(), False),
        (polytls.WantReadError(), False),
        (ValueError(), False),
        (KeyboardInterrupt(), False),
    ],
    ids=repr,
)
def test_what_is_worth_retrying(error: BaseException, expected: bool) -> None:
    assert polytls.is_retryable(error) is expected
