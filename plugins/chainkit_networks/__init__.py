"""Networks for transition operators: from a state s_k to one or more maps of its shape, called heads.

- :class:`MLP`: fully connected layers;
- :class:`RadialBasis`: a normalised radial basis function network;
- :class:`EncoderDecoder`: strided convolutions, fully connected layers, strided transposed convolutions;
- :class:`Generator`: a fully connected layer and strided transposed convolutions.

They differ in how a network shared by all steps is told the step it is at: not at all, by batch
normalisation with parameters and statistics per step (:class:`StepBatchNorm`), by a last layer per
step (:class:`StepLinear`), or by an embedding of the step (:class:`Conditioning`). All take the step
as an int or as one index per row, and all work without a recipe: ``MLP((784,), heads=2, hidden=[1200])``.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "Conditioning": "conditioning",
    "EncoderDecoder": "conv",
    "Generator": "generator",
    "MLP": "mlp",
    "RadialBasis": "rbf",
    "SharedBatchNorm": "normalisation",
    "StepBatchNorm": "step_batch_norm",
    "StepLinear": "step_linear",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
