r"""Batch normalisation of a batch whose rows several processes share out.

.. math:: n_g = \sum_r n_{g,r}, \qquad m_g = \frac{1}{n_g} \sum_r \sum_{i \in g} h_i, \qquad
    v_g = \frac{1}{n_g} \sum_r \sum_{i \in g} (h_i - m_g)^2

over the values of a feature in the rows of group g, in all processes r: two sums over processes, whose
gradients are sums over processes too. On one process it is what torch's own layer computes, up to rounding.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit.distributed import current


@attrs.frozen(kw_only=True, eq=False)
class Normalised:
    """Normalised values, and the statistics of the whole batch.

    Arguments:
        values: y, of the shape and type of what went in.
        count: n, values per feature in each group, [G].
        mean: m, [G, features], detached.
        variance: v, the biased one, [G, features], detached.
    """

    values: Tensor
    count: Tensor
    mean: Tensor
    variance: Tensor


def normalised_together(values: Tensor, group: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Normalised:
    """Normalises each group by the statistics of its rows in all processes.

    Arguments:
        values: h, [B, features] or [B, features, *space].
        group: g of every row, a LongTensor [B] in 0..G-1; a process may lack rows of some.
        weight: gamma, [G, features].
        bias: beta, [G, features].
        eps: epsilon > 0, in squared units of the values.
    """
    flat = values.reshape(*values.shape[:2], -1).to(weight.dtype)
    totals = _grouped(torch.cat([flat.sum(2), flat.new_full((len(flat), 1), flat.shape[2])], 1), group, len(weight))
    count = totals[:, -1].detach()
    several = count.clamp(min=1)[:, None]
    mean = totals[:, :-1] / several
    centred = flat - mean[group].unsqueeze(2)
    variance = _grouped(centred.square().sum(2), group, len(weight)) / several
    scale = weight * (variance + eps).rsqrt()
    normalised = torch.addcmul(bias[group].unsqueeze(2), centred, scale[group].unsqueeze(2))
    return Normalised(values=normalised.view(values.shape).to(values.dtype), count=count, mean=mean.detach(), variance=variance.detach())


def _grouped(rows: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sums of the rows of each group in all processes, [groups, ...]."""
    return current().total(rows.new_zeros(groups, rows.shape[1]).index_add(0, group, rows))
