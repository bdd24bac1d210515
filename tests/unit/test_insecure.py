"""`polytls.insecure`: what it takes to disable protection, and that each step warns."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import warnings
from typing import Any, cast

import pytest

import polytls
from polytls import insecure, registry

ALL_OFF = (True, True)


@pytest.fixture
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", insecure.SecurityWarning)
        yield


@pytest.mark.parametrize("given", [(), (False, False), (True,), ALL_OFF])
def test_an_insecure_configuration_warns_where_it_is_made(given: tuple[bool, ...]) -> None:
    with pytest.warns(insecure.SecurityWarning, match=r"^InsecureConfiguration: ") as caught:
        configuration = insecure.InsecureConfiguration(*given)
    assert [warning.filename for warning in caught] == [__file__]
    assert dataclasses.astuple(configuration) == (*given, False, False)[:2]


def test_giving_up_verification_but_keeping_the_name_check_is_refused() -> None:
    with pytest.raises(ValueError, match="requires disable_hostname_check"):
        insecure.InsecureConfiguration(disable_verification=True)


@pytest.mark.parametrize("name", ["disable_hostname_check", "disable_verification"])
@pytest.mark.parametrize("wrong", [1, None, "no"])
def test_a_wrong_type_is_a_type_error_that_names_the_parameter(name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be bool"):
        insecure.InsecureConfiguration(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.usefixtures("quiet")
def test_insecure_configurations_are_frozen_and_compared_by_value() -> None:
    configuration = insecure.InsecureConfiguration(*ALL_OFF)
    assert configuration == insecure.InsecureConfiguration(*ALL_OFF)
    assert configuration != insecure.InsecureConfiguration(True)
    assert len({configuration, insecure.InsecureConfiguration(*ALL_OFF)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        configuration.disable_verification = False  # type: ignore[misc]
    assert copy.copy(configuration) == pickle.loads(pickle.dumps(configuration)) == configuration


def step(stacklevel: int) -> None:
    insecure.warn("InsecureClientContext.connect", stacklevel)


@pytest.mark.parametrize(("stacklevel", "blamed"), [(1, "step"), (2, "caller")])
def test_a_step_is_named_and_blamed_on_the_frame_asked_for(stacklevel: int, blamed: str) -> None:
    def caller() -> None:
        step(stacklevel)

    with pytest.warns(insecure.SecurityWarning, match=r"^InsecureClientContext\.connect: ") as seen:
        caller()
    lines = {
        "step": step.__code__.co_firstlineno + 1,
        "caller": caller.__code__.co_firstlineno + 1,
    }
    assert [(warning.filename, warning.lineno) for warning in seen] == [(__file__, lines[blamed])]


def test_python_shows_security_warnings_by_default() -> None:
    script = "from polytls import insecure; insecure.InsecureConfiguration()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    assert "SecurityWarning: InsecureConfiguration" in done.stderr
    assert not issubclass(insecure.SecurityWarning, UserWarning)


@pytest.mark.parametrize("name", ["InsecureClientContext", "InsecureServerContext"])
def test_insecure_contexts_take_both_configurations(name: str) -> None:
    protocol = getattr(insecure, name)
    parameters = list(inspect.signature(protocol.__init__).parameters)
    assert parameters == ["self", "tls_configuration", "insecure_configuration"]
    assert isinstance(protocol.insecure_configuration, property)
    secure = getattr(polytls, name.removeprefix("Insecure"))
    assert secure in protocol.__mro__


def implementation() -> Any:
    parts = [cast("Any", object()) for _ in range(5)]
    return insecure.InsecureTLSImplementation(*parts, name="shelf"), parts


def test_an_insecure_implementation_gives_what_it_was_made_with() -> None:
    made, parts = implementation()
    assert [
        made.client_context,
        made.server_context,
        made.validate_config,
        made.insecure_client_context,
        made.insecure_server_context,
    ] == parts
    assert isinstance(made, polytls.TLSImplementation)
    assert repr(made) == "<InsecureTLSImplementation shelf>"


def test_an_insecure_implementation_takes_five_positional_parameters() -> None:
    parameters = inspect.signature(insecure.InsecureTLSImplementation).parameters.values()
    assert [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD] == [
        "client_context",
        "server_context",
        "validate_config",
        "insecure_client_context",
        "insecure_server_context",
    ]
    assert [each.name for each in parameters if each.kind is each.KEYWORD_ONLY] == [
        "name",
        "version",
        "capabilities",
    ]


@pytest.mark.parametrize("name", [None, "shelf"])
def test_looking_one_up_warns_the_caller(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = implementation()
    asked: list[str | None] = []

    def lookup(name: str | None = None) -> Any:
        asked.append(name)
        return made

    monkeypatch.setattr(registry, "insecure_implementation", lookup)
    with pytest.warns(insecure.SecurityWarning, match="insecure.implementation") as caught:
        assert insecure.implementation(name) is made
    assert asked == [name]
    assert [warning.filename for warning in caught] == [__file__]


def test_a_lookup_that_fails_does_not_warn() -> None:
    with pytest.raises(polytls.ConfigurationError, match="no implementation is named"):
        insecure.implementation("no such thing")
