r"""log w of infusion walks as a user would write it, one walk per row.

.. math:: \log w = \log p(x | z_{T-1}) + \sum_t \left[\log p(z_t | z_{t-1}) - \log q(z_t | z_{t-1}, x)\right]
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal
from yardsticks.infusion import UserLoop


@torch.no_grad()
def log_weights(loop: UserLoop, x: Tensor) -> Tensor:
    """log w of one walk from each example: [B, size] -> [B], in nats.

    Arguments:
        loop: Network, prior and rates; the network is in evaluation mode.
        x: The examples.
    """
    total = x.new_zeros(len(x))
    model = Normal(*(moment.expand_as(x) for moment in loop.prior))
    for t, rate in enumerate(loop.rates):
        state = loop.infuse(model, x, rate)
        own = model.log_prob(state)
        if rate > 0:
            mixture = torch.logaddexp(own + math.log(1 - rate), Normal(x, loop.near).log_prob(state) + math.log(rate))
            total = total + (own - mixture).sum(1)
        model = loop.net(state, t + 1)
    return total + model.log_prob(x).sum(1)
