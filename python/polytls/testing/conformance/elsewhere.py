"""Keys that are elsewhere, as cases have them: the signers that the kit is run with, watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polytls import PrivateKey, SignatureScheme, Signer, SigningChain

__all__ = ["Signs", "elsewhere"]


class Signs:
    """Signs as another does, and keeps what it was asked for; `instead` takes the place of that."""

    def __init__(self, signer: Signer, instead: Any = None) -> None:
        self.asked: list[SignatureScheme] = []
        self._signer = signer
        self._instead = instead

    @property
    def public_key(self) -> bytes:
        return self._signer.public_key

    @property
    def algorithms(self) -> Sequence[SignatureScheme]:
        return self._signer.algorithms

    def sign(self, data: bytes, algorithm: SignatureScheme) -> bytes:
        self.asked.append(algorithm)
        if self._instead is not None:
            made: bytes = self._instead(data, algorithm)
            return made
        return self._signer.sign(data, algorithm)


def elsewhere(lab: Any, chain: SigningChain, instead: Any = None) -> tuple[SigningChain, Signs]:
    """The chain with a signer in the place of its key."""
    certificate, key = chain.leaf
    signer = Signs(lab.signer(key), instead)
    return SigningChain((certificate, PrivateKey.from_signer(signer)), chain.chain), signer
