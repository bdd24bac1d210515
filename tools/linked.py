"""The crates that are linked into the extension module: their licences, and a bill of materials.

    tools/linked.py licences          write LICENSE-THIRD-PARTY, which wheels contain
    tools/linked.py check             fail if that is not of the crates in Cargo.lock
    tools/linked.py sbom FILE         write a CycloneDX 1.5 document (PEP 770): no times, no paths

Crates that only build others, or make code for them, are not linked and are left out. Licences are
those of all platforms that `wheels.py` builds for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THIRD_PARTY = ROOT / "LICENSE-THIRD-PARTY"
PACKAGE = "polytls-python"

#: The platforms of wheels, as Rust names them.
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")

#: Files that hold terms.
_TERMS = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)\b.*", re.IGNORECASE)
_NOT_TERMS = (".rs", ".c", ".h", ".py", ".json", ".toml")

HEADER = """\
polytls is licensed under the MIT license or the Apache License 2.0 (LICENSE-MIT, LICENSE-APACHE).
Its extension module contains code of the packages below, under the terms that follow, and parts of
Rust's standard library (https://www.rust-lang.org), which is licensed as MIT OR Apache-2.0.
Made by tools/linked.py.
"""


@dataclass(frozen=True, order=True)
class Crate:
    """A package of Cargo's."""

    name: str
    version: str
    licence: str
    folder: Path
    #: SHA-256 of its archive; None for ours.
    checksum: str | None

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def linked(targets: tuple[str, ...] = TARGETS) -> list[Crate]:
    """All that are linked on any of these platforms, ours included."""
    metadata: dict[str, Any] = json.loads(cargo("metadata", "--format-version", "1", "--locked"))
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(each["name"], each["version"]): each.get("checksum") for each in locked}
    shown: set[tuple[str, str]] = set()
    for target in targets:
        options = ("--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
        tree = cargo("tree", "--locked", "--package", PACKAGE, "--target", target, *options)
        shown |= set(re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE))
    return sorted(
        Crate(
            each["name"],
            each["version"],
            each["license"],
            Path(each["manifest_path"]).parent,
            checksums[each["name"], each["version"]],
        )
        for each in metadata["packages"]
        if (each["name"], each["version"]) in shown
    )


def terms(crate: Crate) -> list[str]:
    """The texts of its licences, those of what it includes as well."""
    found = sorted(
        path
        for path in crate.folder.rglob("*")
        if path.is_file() and _TERMS.fullmatch(path.name) and path.suffix not in _NOT_TERMS
    )
    if not found:
        raise SystemExit(f"{crate.name} {crate.version}: there is no licence in {crate.folder}")
    return [_tidied(path.read_text()) for path in found]


def _tidied(text: str) -> str:
    """The same text with the same lines, wherever its file was written."""
    return "\n".join(line.rstrip() for line in text.expandtabs().splitlines()).strip("\n")


def licences() -> str:
    """What LICENSE-THIRD-PARTY holds: each text once, below the packages that it is for."""
    of: dict[str, list[Crate]] = {}
    for crate in linked():
        if crate.checksum is not None:
            for text in dict.fromkeys(terms(crate)):
                of.setdefault(text, []).append(crate)
    rule = "-" * 100
    parts = [HEADER]
    for text, crates in sorted(of.items(), key=lambda item: item[1]):
        names = "\n".join(f"{each.name} {each.version} ({each.licence})" for each in crates)
        parts.append(f"{rule}\n{names}\n{rule}\n\n{text}\n")
    return "\n".join(parts)


def sbom() -> str:
    """The bill of materials, the same for the same Cargo.lock."""
    crates = linked()
    (root,) = (each for each in crates if each.name == PACKAGE)

    def component(crate: Crate) -> dict[str, Any]:
        described: dict[str, Any] = {
            "type": "library",
            "bom-ref": crate.purl,
            "name": crate.name,
            "version": crate.version,
            "licenses": [{"expression": crate.licence.replace("/", " OR ")}],
        }
        if crate.checksum is not None:
            described["purl"] = crate.purl
            described["hashes"] = [{"alg": "SHA-256", "content": crate.checksum}]
        return described

    metadata: dict[str, Any] = json.loads(cargo("metadata", "--format-version", "1", "--locked"))
    purls = {
        each["id"]: f"pkg:cargo/{each['name']}@{each['version']}" for each in metadata["packages"]
    }
    known = {each.purl for each in crates}
    dependencies = [
        {
            "ref": purls[node["id"]],
            "dependsOn": sorted({purls[each["pkg"]] for each in node["deps"]} & known),
        }
        for node in metadata["resolve"]["nodes"]
        if purls[node["id"]] in known
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root)},
        "components": [component(each) for each in crates if each is not root],
        "dependencies": sorted(dependencies, key=lambda each: str(each["ref"])),
    }
    return json.dumps(document, indent=1) + "\n"


def is_current() -> bool:
    """Whether LICENSE-THIRD-PARTY is of the crates in Cargo.lock."""
    return THIRD_PARTY.exists() and THIRD_PARTY.read_text() == licences()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["licences"]:
            THIRD_PARTY.write_text(licences())
        case ["check"]:
            if not is_current():
                print(f"{THIRD_PARTY.name} is out of date: make licences", file=sys.stderr)
                return 1
        case ["sbom", name]:
            Path(name).write_text(sbom())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
