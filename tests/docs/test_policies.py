"""The table of crypto policies in docs/openssl.md is what contexts say and do."""

from __future__ import annotations

import re

import pytest

import policies
import polytls


def test_the_table_of_policies_is_what_contexts_do() -> None:
    page = policies.on_page()
    ours = polytls.implementation("openssl").version or ""
    series = [re.findall(r"OpenSSL (\d+\.\d+)\.", text) for text in (page, ours)]
    assert series[0], page
    if series[0] != series[1]:
        pytest.skip(f"the table is of OpenSSL {series[0][0]}, and this is {ours}")
    assert policies.table().splitlines()[1:] == page.splitlines()[1:]
