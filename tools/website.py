"""The documentation site: `make docs`.

    tools/website.py build    gather the pages in target/website, build it, and check what was built

README is the first page; the pages of docs/ and the project's other pages are beside it, with
their links to each other adapted. The reference is made from docstrings and stubs by the table
`REFERENCE`, which has to name every public name. Nothing is loaded from another host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polytls

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "website"
PAGES = FOLDER / "pages"
HTML = FOLDER / "html"

#: Files outside docs/ that the site has, and their names there.
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "LICENSE-APACHE": "LICENSE-APACHE.txt",
    "LICENSE-MIT": "LICENSE-MIT.txt",
}

#: The first page of the reference.
CONTENTS = "reference/index.md"

#: A fenced block, which stays as it is, or a link's target without a scheme.
_LINK = re.compile(r"^```.*?^```$|(?<=\]\()(?!\w+:|#)([^\s()#]+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """A page of the reference: names of `polytls`, or everything that a module has."""

    title: str
    about: str
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    #: Of mkdocstrings, beyond those of docs/mkdocs.yml.
    options: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"reference/{re.sub(r'[^a-z]+', '-', self.title.lower()).strip('-')}.md"

    @property
    def text(self) -> str:
        options = "".join(f"      {option}\n" for option in self.options)
        options = f"    options:\n{options}" if options else ""
        whole = [*(f"polytls.{name}" for name in self.names), *self.modules]
        blocks = [f"::: {name}\n{options}" for name in whole]
        return f"# {self.title}\n\n{self.about}\n\n" + "\n".join(blocks)


#: The modules of `polytls.net` for programs.
NETWORK = sorted(
    {path.stem for path in (ROOT / "python/polytls/net").glob("[a-z]*.py")}
    - {"connections", "contexts", "private"}
)

#: The pages of the reference.
REFERENCE = [
    Reference(
        "Implementations and contexts",
        "Where a program begins: an implementation, and the contexts that it makes.",
        (
            "implementation",
            "implementations",
            "TLSImplementation",
            "Capabilities",
            "ClientContext",
            "ServerContext",
            "SupportsClientWrapSocket",
            "SupportsServerWrapSocket",
            "SupportsEffectiveCiphers",
            "SupportsHandshakeMayBlock",
            "SupportsStatistics",
        ),
        options=("merge_init_into_class: false",),
    ),
    Reference(
        "Configuration",
        "Immutable data: what a context is made from.",
        (
            "TLSClientConfiguration",
            "TLSServerConfiguration",
            "SessionCache",
            "TicketKeys",
            "PeerVerifier",
            "EventListener",
            "DEFAULT_CIPHER_LIST",
            "key_log_from_environment",
        ),
    ),
    Reference(
        "Certificates, keys and trust",
        "What identifies this side, and what the peer is verified against.",
        (
            "Certificate",
            "PrivateKey",
            "ECHKey",
            "Signer",
            "SigningChain",
            "TrustStore",
            "Pins",
            "RevocationList",
            "OCSPResponse",
        ),
    ),
    Reference(
        "Connections",
        "Sockets, listeners, and connections in memory, with what each may support.",
        (
            "Connection",
            "Listener",
            "TLSSocket",
            "TLSBuffer",
            "TLSSession",
            "ByteStream",
            "SupportsChannelBinding",
            "SupportsDetach",
            "SupportsDoHandshake",
            "SupportsEarlyData",
            "SupportsExporter",
            "SupportsFileno",
            "SupportsInfo",
            "SupportsKeyUpdate",
            "SupportsMakefile",
            "SupportsOpen",
            "SupportsPending",
            "SupportsRecvInto",
            "SupportsSeal",
            "SupportsSendall",
            "SupportsSendfile",
            "SupportsSession",
            "SupportsShutdown",
            "SupportsSocketOptions",
            "SupportsTimeout",
            "SupportsUnwrap",
        ),
        options=("merge_init_into_class: false",),
    ),
    Reference(
        "Information",
        "What a connection knows of itself and of its peer.",
        (
            "ConnectionInfo",
            "ConnectionEvent",
            "CertificateInfo",
            "PresentedPeer",
            "Staple",
            "SessionStatistics",
        ),
    ),
    Reference(
        "Errors",
        "Every error of TLS is a `TLSError`, which is an `OSError`.",
        (
            "TLSError",
            "ConfigurationError",
            "CertificateVerificationError",
            "VerificationFailure",
            "Responsible",
            "AlertReceived",
            "PeerRejectedCertificate",
            "PeerIncompatible",
            "ECHRejected",
            "PeerMisbehaved",
            "NotTLSError",
            "RaggedEOF",
            "WantReadError",
            "WantWriteError",
            "TokenError",
            "TokenFailure",
            "is_retryable",
        ),
        options=("show_bases: true",),
    ),
    Reference(
        "Constants",
        "Versions, cipher suites, groups, signature schemes, messages, alerts, protocols.",
        (
            "TLSVersion",
            "CipherSuite",
            "NamedGroup",
            "SignatureScheme",
            "CertificateCompressionAlgorithm",
            "HandshakeType",
            "AlertDescription",
            "NextProtocol",
            "ClientAuthentication",
            "ECHStatus",
        ),
        options=("show_if_no_docstring: true",),
    ),
    Reference(
        "Event loops",
        "[asyncio and uvloop](../asyncio.md), [anyio and trio](../anyio.md).",
        modules=("polytls.asyncio", "polytls.anyio"),
    ),
    Reference(
        "Streams", "[TLS over any byte stream](../streams.md).", modules=("polytls.streams",)
    ),
    Reference(
        "Network modules",
        "[The standard library's network modules](../net.md) over polytls.",
        modules=tuple(f"polytls.net.{name}" for name in NETWORK),
    ),
    Reference("Compat", "[polytls through `ssl`](../ssl.md).", modules=("polytls.compat",)),
    Reference(
        "Reloading, tokens and encrypted keys",
        "[Certificates and keys](../identity.md) beyond the configuration.",
        modules=("polytls.reload", "polytls.tokens", "polytls.identity.decrypt"),
    ),
    Reference(
        "Encrypted ClientHello",
        "[The configurations in HTTPS records](../ech.md).",
        modules=("polytls.ech",),
    ),
    Reference(
        "Tracing",
        "[Events and OpenTelemetry spans](../tracing.md).",
        modules=("polytls.tracing",),
    ),
    Reference(
        "OpenSSL's options",
        "[What only OpenSSL has](../openssl.md#options).",
        modules=("polytls.engines.openssl", "polytls.engines.libssl"),
    ),
    Reference(
        "Without verification",
        "For tests only. Each of these warns.",
        modules=("polytls.insecure",),
    ),
    Reference(
        "Testing",
        "Certificates, clocks, and connections in memory for tests.",
        modules=("polytls.testing",),
    ),
]


def sources() -> dict[Path, Path]:
    """What is gathered, and where in the folder it goes."""
    there = {ROOT / name: Path(other) for name, other in OUTSIDE.items()}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and path.suffix in (".css", ".json", ".md", ".svg"):
            there[path] = path.relative_to(ROOT / "docs")
    return there


def gather() -> None:
    """Write all pages to the folder."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    there = sources()
    for path, name in there.items():
        target = PAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(adapted(path, there))
        else:
            shutil.copyfile(path, target)
    (PAGES / "reference").mkdir()
    for page in REFERENCE:
        (PAGES / page.path).write_text(page.text)
    (PAGES / CONTENTS).write_text(_contents())


def adapted(path: Path, there: dict[Path, Path]) -> str:
    """A page, with links to where the pages are in the folder."""

    def link(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        target = Path(os.path.normpath(path.parent / match[1]))
        if target not in there:
            raise SystemExit(f"{path.relative_to(ROOT)}: the site lacks {match[1]}")
        return os.path.relpath(there[target], there[path].parent)

    return _LINK.sub(link, path.read_text())


def _contents() -> str:
    """The first page of the reference."""
    lines = [
        "# Reference",
        "",
        "Generated from the package's docstrings and stubs. The guides have the examples.",
        "",
        "| page | contents |",
        "| --- | --- |",
        *(f"| [{page.title}]({Path(page.path).name}) | {page.about} |" for page in REFERENCE),
        "",
    ]
    return "\n".join(lines)


def configuration() -> str:
    """docs/mkdocs.yml with the pages of the reference; SystemExit if it does not name each page."""
    text = (ROOT / "docs" / "mkdocs.yml").read_text()
    reference = [CONTENTS, *(page.path for page in REFERENCE)]
    entries = "".join(f"\n      - {path}" for path in reference)
    text = re.sub(r"(?m)^( +- Reference:) reference$", rf"\1{entries}", text)
    named = re.findall(r"(?m)^ +- (?:[^:\n]+: )?(\S+\.md)$", text)
    pages = [*map(str, sources().values()), *reference]
    for path in sorted({*named, *(page for page in pages if page.endswith(".md"))}):
        if named.count(path) != 1 or path not in pages:
            raise SystemExit(f"docs/mkdocs.yml: nav names {path} {named.count(path)} times")
    return text


def complete() -> None:
    """SystemExit if the reference does not name each public name once."""
    names = [name for page in REFERENCE for name in page.names]
    for name in sorted({*names, *polytls.__all__} - {"__version__"}):
        if names.count(name) != 1 or name not in polytls.__all__:
            raise SystemExit(f"tools/website.py: REFERENCE names {name} {names.count(name)} times")


@dataclass
class Page(HTMLParser):
    """What a built page refers to, and what can be referred to in it."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.ids.add(value or "")
            elif value and (name == "src" or (name == "href" and tag == "link")):
                self.loaded.append(value)
            elif value and name == "href":
                self.links.append(value)


def faults() -> Iterator[str]:
    """What is wrong with the pages that were built."""
    pages = {path: Page(path) for path in HTML.rglob("*.html")}
    for path, page in pages.items():
        where = path.relative_to(HTML)
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and not link.startswith("data:"):
                    yield f"{where}: loads {link}"
                continue
            if path.name == "404.html":  # Its links are those of the root of the site.
                continue
            name = unquote(parts.path)
            target = Path(os.path.normpath(path.parent / name)) if name else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{where}: {link}: no such file"
            elif parts.fragment and target in pages:
                anchor = unquote(parts.fragment)
                if anchor not in pages[target].ids and anchor != "__skip":
                    yield f"{where}: {link}: no such anchor"


def build() -> int:
    """Build the site; return 0 if it is in order."""
    complete()
    settings = configuration()
    gather()
    (FOLDER / "mkdocs.yml").write_text(settings)
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr)
        return 1
    found = sorted(set(faults()))
    for fault in found:
        print(fault)
    count = len(list(HTML.rglob("*.html")))
    print(f"{count} pages in {HTML.relative_to(ROOT)}: {len(found)} faults")
    return bool(found)


if __name__ == "__main__":
    if sys.argv[1:] != ["build"]:
        raise SystemExit(__doc__)
    raise SystemExit(build())
