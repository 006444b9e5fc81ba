"""Data and weights known by their values: digests that are equal for equal tensors, wherever they lie."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from chainkit.data import Data

ROWS = 1000
"""How many examples are read at once."""


_KNOWN: WeakKeyDictionary[Data, dict[str, str]] = WeakKeyDictionary()


def fingerprint(data: Data, split: str) -> str:
    """A digest of the raw examples of a split, and of their labels where these condition the chain; worked out once for each split.

    Arguments:
        data: The data.
        split: Name of the split.

    Raises:
        DataError: There is no such split.
    """
    known = _KNOWN.setdefault(data, {})
    if split not in known:
        known[split] = _digest(data, split)
    return known[split]


def _digest(data: Data, split: str) -> str:
    content, digest = data.split(split), hashlib.blake2b(digest_size=16)
    for part in (content.values, content.labels if data.classes is not None else None):
        if part is not None:
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            for rows in part.split(ROWS):
                digest.update(rows.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def tensor_fingerprint(tensor: Tensor) -> str:
    """A digest of a tensor's type, shape and values, bit for bit.

    Arguments:
        tensor: Any, on any device.
    """
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
