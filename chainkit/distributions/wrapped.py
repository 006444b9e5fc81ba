"""Any ``torch.distributions`` object as a distribution over one state per row."""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.capabilities import Density
from chainkit.random import Rows, Share, Source, uniform


class Wrapped(Density):
    """Adapts a ``torch.distributions`` object whose first batch dimension is the row.

    It cannot draw from a generator, so that a draw forks torch's global one, seeded from the
    source; each row then depends on its batch-mates, which figures about single examples (``Rows``)
    and batches that several processes share out (``Share``) refuse. It states no mean, since many of
    these distributions have none in closed form.

    Arguments:
        inner: The distribution; ``inner.sample()`` has the shape [B, *event].
    """

    def __init__(self, inner: torch.distributions.Distribution) -> None:
        self.inner = inner

    def sample(self, source: Source = None) -> Tensor:
        """Draws one state per row.

        Raises:
            ValueError: The source is ``Rows`` or ``Share``.
        """
        if source is None:
            return self.inner.sample()
        if isinstance(source, (Rows, Share)):
            raise ValueError(f"{type(self.inner).__name__} of torch.distributions cannot be drawn row by row")
        seed = int(uniform(torch.empty(1, dtype=torch.float64, device=source.device), source).item() * 2**53)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.inner.sample()

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob = self.inner.log_prob(value)
        return log_prob.reshape(len(log_prob), -1).sum(1)
