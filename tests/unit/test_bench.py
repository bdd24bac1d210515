"""The benchmark works: every case in its smallest form, once. What it finds is nobody's test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import polytls

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"ssl", "polytls/rustls", "polytls/compat"}


@pytest.fixture(scope="module")
def benches() -> Iterator[None]:
    """The package is importable: it is not part of what is installed."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def bench(benches: None) -> Iterator[Any]:
    made = import_module("benches.rounds").Bench(target=0)
    with made.stack:
        yield made


@pytest.fixture(scope="module")
def peers(benches: None) -> list[Any]:
    """The standard library and polytls: the others need not be here."""
    found, _ = import_module("benches.cases").libraries(["rustls"])
    return [peer for peer in found if peer.name in NAMES]


@pytest.fixture(scope="module")
def report(bench: Any, peers: list[Any]) -> Any:
    cases, rounds = import_module("benches.cases"), import_module("benches.rounds")
    machine, module = import_module("benches.machine"), import_module("benches.report")
    versions = {peer.name: peer.version() for peer in peers}
    made = module.Report(machine.facts(bench.cores), versions, "polytls/rustls", 1)
    made.figures = [rounds.measure(bench, case, peers, 1) for case in cases.CASES]
    return made


def test_every_case_gives_a_figure_for_both_and_its_floor(report: Any) -> None:
    for figures in report.figures:
        names = set(NAMES)
        if figures.case.floor is not None and figures.values:
            names.add(figures.case.floor[0])
        assert set(figures.values) | set(figures.unable) == names, figures.case.name
        assert all(len(values) == 1 for values in figures.values.values())
        assert all(isinstance(value, float) for [value] in figures.values.values())


def test_what_cannot_be_measured_is_told_with_its_reason(report: Any) -> None:
    reasons = {reason for figures in report.figures for reason in figures.unable.values()}
    # `ssl` cannot choose its group before Python 3.15, and OpenSSL's first is another from 3.5 on.
    known = ("there is one core", "it agreed on ", "there is no ", "its contexts are PEP 748's")
    known += ("it takes no keys in tokens",)
    # Cases are there before the module that they measure; the reason ends with it.
    if find_spec("polytls.asyncio") is None:
        known += ("polytls.asyncio is not there",)
    assert all(reason.startswith(known) for reason in reasons), reasons


def test_a_report_survives_json_and_stands_on_a_page(report: Any, tmp_path: Path) -> None:
    again = type(report).from_json(report.to_json())
    assert again.markdown() == report.markdown()
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n")
    again.write_page(page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| bulk 16 KiB, methods | MB/s |" in text
    assert "| … polytls/compat |" in text


def test_drawings_are_written(report: Any, tmp_path: Path) -> None:
    for drawing in import_module("benches.chart").draw(report, tmp_path):
        svg = ElementTree.fromstring(drawing.read_text())
        *_, width, _ = (float(number) for number in svg.attrib["viewBox"].split())
        bars = [it.attrib for it in svg.iter("{http://www.w3.org/2000/svg}rect")]
        assert bars
        assert all(float(bar["x"]) + float(bar["width"]) <= width for bar in bars)


def test_every_mark_is_of_a_case_that_can_have_it(report: Any) -> None:
    cases = {figures.case.name: figures.case for figures in report.figures}
    for mark in import_module("benches.marks").MARKS:
        assert mark.case in cases
        assert mark.of != "floor" or cases[mark.case].floor is not None


def test_a_mark_is_missed_below_its_bound_and_where_nothing_was_measured(benches: None) -> None:
    rounds, marks = import_module("benches.rounds"), import_module("benches.marks")
    case = rounds.Case("bulk", "MB/s", None)
    figures = rounds.Figures(case, {"ssl": [10.0, 20.0, 30.0], "polytls": [21.0, 40.0, 57.0]})
    assert figures.ratio("polytls", "ssl") == 2.0
    assert marks.Mark("bulk", "ssl", 2.0).met(figures, "polytls", "ssl")
    assert not marks.Mark("bulk", "ssl", 2.01).met(figures, "polytls", "ssl")
    assert marks.Mark("bulk", "ssl", 2.0, least=False).met(figures, "polytls", "ssl")
    assert not marks.Mark("bulk", "floor", 0.1).met(figures, "polytls", "ssl")
    assert not marks.Mark("bulk", "ssl", 0.1).met(figures, "other", "ssl")


def test_what_not_every_machine_has_is_not_missed_where_it_is_not(benches: None) -> None:
    rounds, marks = import_module("benches.rounds"), import_module("benches.marks")
    case = rounds.Case("tokens", "times", None)
    mark = marks.Mark("tokens", "figure", 0.8, where_able=True)
    assert not mark.applies(rounds.Figures(case, unable={"polytls": "there is none"}), "polytls")
    slow = rounds.Figures(case, {"polytls": [0.7]})
    assert mark.applies(slow, "polytls")
    assert not mark.met(slow, "polytls", "ssl")


def test_the_wire_tells_resumed_handshakes_from_full_ones(bench: Any, peers: list[Any]) -> None:
    loops, peer = import_module("benches.loops"), import_module("benches.peers")
    wire = import_module("benches.wire")
    for library in peers:
        contexts = bench.contexts(library, peer.Setting(sessions=True))
        found = []
        for _ in range(2):
            link = loops.Link.make(contexts)
            link.settle()
            contexts.remember(link.client)
            found.append(wire.ServerHello.parse(link.flight))
        assert [hello.resumed for hello in found] == [False, True]
        assert {hello.suite for hello in found} == {
            polytls.CipherSuite.TLS_AES_256_GCM_SHA384.value
        }


def test_costs_by_size_are_measured_in_the_same_way(bench: Any, peers: list[Any]) -> None:
    for table in import_module("benches.scaling").tables(bench, peers):
        assert all(set(row) == NAMES for row in table.rows.values())


def test_costs_are_those_of_each_function_by_itself(benches: None) -> None:
    profile = import_module("benches.profile")
    text = """
events: Ir
ob=(1) /lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) eval
10 5
cob=(2) /lib/libc.so.6
cfn=(2) malloc
calls=1 20
10 700
+1 7
ob=(2)
fn=(2)
20 30
fi=(2) inlined.h
* 40
ob=(1)
fn=(3) eval'2
10 1
"""
    costs = profile.callgrind_costs(iter(text.splitlines()))
    assert costs == {
        ("/lib/libpython3.11.so.1.0", "eval"): 13,
        ("/lib/libc.so.6", "malloc"): 70,
    }


@pytest.mark.parametrize(
    ("file", "function", "layer"),
    [
        ("/x/polytls/_native.abi3.so", "polytls_core::connection::Connection::read", "polytls"),
        ("/x/polytls/_native.abi3.so", "core::ptr::drop_in_place<_native::bytes::View>", "polytls"),
        ("/x/polytls/_native.abi3.so", "pyo3::impl_::trampoline::trampoline", "PyO3"),
        ("/x/polytls/_native.abi3.so", "webpki::der::expect_tag", "rustls"),
        ("/x/polytls/_native.abi3.so", "alloc::raw_vec::finish_grow", "other Rust"),
        ("/x/polytls/_native.abi3.so", "_aesni_ctr32_ghash_6x", "aws-lc"),
        ("/x/libpython3.11.so.1.0", "_PyEval_EvalFrameDefault", "interpreter"),
        ("/x/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "write", "ssl"),
        ("/x/libcrypto.so.3", "malloc_hook", "OpenSSL"),
        ("/x/libc.so.6", "_int_free", "malloc"),
        ("/x/libc.so.6", "__memmove_avx512_unaligned_erms", "libc"),
        ("[kernel.kallsyms]", "tcp_ack", "system"),
    ],
)
def test_functions_belong_to_layers(benches: None, file: str, function: str, layer: str) -> None:
    assert import_module("benches.profile").layer((file, function)) == layer


def test_what_is_profiled_runs() -> None:
    command = [sys.executable, "-m", "benches.profile", "bulk 1,400 B, methods", "--run", "1"]
    subprocess.run(command, cwd=ROOT, check=True)
