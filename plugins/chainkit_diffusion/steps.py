r"""Numbers that depend on the step alone.

With variances b_1..b_K, the share of the signal that is left after k steps is

.. math:: a_k = \prod_{i \le k} (1 - b_i), \qquad a_0 = 1.

Everything is accumulated in float64 as logarithms, and the lost share as ``1 - a_k = -expm1(log a_k)``:
for K in the thousands a_1 is so close to 1, and a_K to 0, that the naive forms lose their digits in
one or the other. Only finished numbers are rounded to the precision of the states.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs
import torch
from torch import Tensor

from chainkit.states import per_row

Mask: TypeAlias = "bool | Tensor"


@attrs.frozen(kw_only=True, eq=False)
class Shares:
    """How much of the data is kept and lost after every step, each a tensor [K] indexed by k - 1.

    Arguments:
        log_kept: log a_k.
        kept: a_k.
        lost: 1 - a_k.
        kept_before: a_{k-1}.
        lost_before: 1 - a_{k-1}; 0 at k = 1.
    """

    log_kept: Tensor
    kept: Tensor
    lost: Tensor
    kept_before: Tensor
    lost_before: Tensor

    @classmethod
    def of(cls, variances: Tensor) -> Shares:
        """The shares of a schedule b_1..b_K, [K], in float64."""
        log_kept = torch.log1p(-variances).cumsum(0)
        before = torch.cat([log_kept.new_zeros(1), log_kept[:-1]])
        return cls(log_kept=log_kept, kept=log_kept.exp(), lost=-log_kept.expm1(), kept_before=before.exp(), lost_before=-before.expm1())


def require_a_learned_step(first_step: str, steps: int) -> None:
    """Makes sure that some step of an operator is learned.

    Arguments:
        first_step: ``forward`` or ``learned``.
        steps: K.

    Raises:
        ValueError: The only step is the forward kernel.
    """
    if steps == 1 and first_step == "forward":
        raise ValueError('first_step: the only step would be the forward kernel, with nothing to learn; set "learned"')


def pick(column: Tensor, k: int | Tensor, like: Tensor) -> Tensor:
    """The number of step k, or one per row, ready to be combined with ``like``.

    Arguments:
        column: Numbers of all steps, [K].
        k: The step in 1..K, an int or a LongTensor [B].
        like: A state [B, *event].

    Returns:
        A tensor [] or [B, 1, ..., 1] of the precision of ``like``.

    Raises:
        IndexError: There is no step k.
    """
    if isinstance(k, int) and not 1 <= k <= len(column):
        raise IndexError(f"step {k} of a diffusion of {len(column)} steps")
    numbers = column[k - 1].to(like.dtype)
    return per_row(numbers, like) if isinstance(k, Tensor) else numbers


def wide(tensor: Tensor) -> Tensor:
    """A network's output in float32 or wider, whatever autocast made of it."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def silent_at_one(head: Tensor, k: int | Tensor) -> Tensor:
    """A network's output, zero for the rows at k = 1.

    It stays in the graph there, with gradient zero, so that every step of a walk can be trained on.

    Arguments:
        head: [B, *event].
        k: The step, an int or a LongTensor [B].
    """
    if isinstance(k, Tensor):
        return head.masked_fill(per_row(k == 1, head), 0)
    return head.masked_fill(torch.ones((), dtype=torch.bool, device=head.device), 0) if k == 1 else head


def masked(values: Tensor, keep: Mask) -> Tensor:
    """One value per row, zero where the mask is false.

    Arguments:
        values: [B].
        keep: A bool for all rows, or one per row.
    """
    if isinstance(keep, Tensor):
        return values.masked_fill(~keep, 0)
    return values if keep else torch.zeros_like(values)
