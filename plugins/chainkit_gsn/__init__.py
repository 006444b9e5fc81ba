r"""Denoising autoencoder chains and Generative Stochastic Networks (Bengio et al. 2013 and 2014).

A corruption :math:`C(\tilde x | x)` and a reconstruction :math:`p(x | \tilde x)` make a Markov chain, whose
stationary law is the law of the data where the reconstruction is the exact posterior. A GSN adds
hidden layers to the state. Neither states a density: the model is what the chain settles in.

How it fits: s_k, k >= 1, is everything random that the network is shown, so that one evaluation
needs no random numbers of its own:

.. math:: s_k = \tilde x \quad\text{or}\quad s_k = (\tilde x, h_1, .., h_L), \qquad s_0 = x

and a step is *evaluate, draw x, corrupt*; the last one, onto the data, leaves out the corruption.
The chain has no noise end of its own: any prior will do, and N sampling steps forget it.

- :class:`SaltAndPepper`, :class:`Masking`, :class:`GaussianNoise`: corruptions;
- :class:`DenoisingBernoulli`, :class:`DenoisingGaussian`: autoencoder chains; their steps have
  densities, so that every estimator applies;
- :class:`GSN`: hidden layers with noise before and after tanh; estimators from samples apply, those
  from log w refuse, since a noisy unit has no tractable density;
- :class:`WalkbackProcess`, :class:`Reconstruction`: the walk from data by the chain itself, and
  log p(x | s_k) at each of its steps;
- :func:`hold_known`: a clamp for conditional sampling.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "DenoisingBernoulli": "autoencoder",
    "DenoisingGaussian": "autoencoder",
    "GSN": "gsn",
    "GaussianNoise": "corruption",
    "Masking": "corruption",
    "OutputAccuracy": "accuracy",
    "Outputs": "outputs",
    "Reconstruction": "reconstruction",
    "Reconstructs": "capabilities",
    "SaltAndPepper": "corruption",
    "WalkbackProcess": "walk",
    "hold_known": "clamp",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
