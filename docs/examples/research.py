"""A chain without recipe and command line: an operator of one's own, trained in a loop of one's own."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from chainkit import Batch, Chain, Data, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit.objective import PathBound
from chainkit_estimators import Importance, LowerBound
from chainkit_infusion import IncreasingRate, InfusionProcess, NearGaussian
from chainkit_priors import GaussianPrior


class Denoiser(TransitionOperator):
    """p(s_{k-1} | s_k) = N(mu, diag v), mu and v from a network that sees s_k and k."""

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.step = nn.Embedding(steps + 1, dim)
        self.network = nn.Sequential(nn.Linear(dim, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2 * dim))

    def forward(self, state: Tensor, k: int | Tensor, condition: None = None) -> GaussianKernel:
        mean, spread = self.network(state + self.step(torch.as_tensor(k))).chunk(2, dim=1)
        return GaussianKernel(mean.sigmoid(), 0.1 * spread.sigmoid() + 1e-3)


torch.manual_seed(0)
digits = torch.tensor(load_digits().data, dtype=torch.float32)  # [1797, 64], grey levels 0..16
digits = (digits + torch.rand_like(digits)) / 17  # uniform noise of one level's width
train, test = digits[torch.randperm(len(digits))].split([1597, 200])

chain = Chain(GaussianPrior.fit(train), Denoiser(dim=64, steps=6), steps=6)
process, objective = InfusionProcess(IncreasingRate(omega=0.15), NearGaussian(variance=0.01)), PathBound()
optimizer = torch.optim.Adam(chain.parameters(), lr=3e-3)
for _ in range(800):
    batch = Batch.of(train[torch.randint(len(train), (100,))])
    for loss in objective.losses(chain, process, batch):
        loss.value.backward()
    optimizer.step()
    optimizer.zero_grad()

examples = Data.of(train, test=test).examples("test")
for estimator in (LowerBound(walks=10), Importance(walks=100)):
    found = estimator.estimate(chain, process, examples)
    print(f"{found.name}: {found.value:.2f} +- {found.error:.2f} {found.unit}; factorial baseline {found.baseline:.2f}")

for row in chain.sample(8).mean.view(8, 8, 8).transpose(0, 1):  # the means of eight samples, side by side
    print("   ".join("".join(" .:-=+*#%@"[int(9.99 * value)] for value in digit) for digit in row.tolist()))
