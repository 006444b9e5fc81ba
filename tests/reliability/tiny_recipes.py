"""One small recipe for each shipped method: 12 updates in three epochs, with validation, average, samples and a figure."""

from __future__ import annotations

COMMON = """
device = "cpu"
[train]
epochs = 3
batch_size = 50
optimizer = { type = "adam", lr = 0.01 }
decay = { type = "cosine" }
ema = 0.9
statistics_examples = 40
[validate]
estimator = { type = "lower-bound", walks = 1 }
examples = 5
[sample]
n = 4
every = 2
[evaluate]
examples = 6
estimators = [{ type = "lower-bound", walks = 2 }]
"""

DIGITS = """
[data]
type = "digits"
valid = 700
test = 897
"""

METHODS = {
    "walkback": """
[data]
type = "grid-3x3"
n = 200
[chain]
steps = 3
temperature = { type = "geometric", ratio = 1.5 }
prior = { type = "gaussian" }
operator = { type = "walkback-gaussian", sigma0 = 0.1, network = { type = "mlp", hidden = [5], norm = "shared" } }
[process]
type = "heated"
[objective]
type = "walkback"
""",
    "infusion": f"""
{DIGITS}
scale = 17
dequantize = true
[chain]
steps = 3
prior = {{ type = "gaussian" }}
operator = {{ type = "infusion-gaussian", network = {{ type = "mlp", hidden = [5], norm = "per-step" }} }}
[process]
type = "infusion"
rate = {{ type = "increasing", omega = 0.1 }}
[objective]
type = "denoising"
""",
    "diffusion": """
[data]
type = "swiss-roll"
n = 200
[chain]
steps = 3
prior = { type = "gaussian", fit = false }
operator = { type = "diffusion-gaussian", network = { type = "mlp", hidden = [5], step = "embedding" } }
[process]
type = "diffusion-gaussian"
schedule = { type = "variance-learned", initial = { type = "variance-cosine" } }
[objective]
type = "diffusion-bound"
steps = "one"
""",
    "energy": """
[data]
type = "heartbeat"
n = 200
[chain]
steps = 3
temperature = { type = "annealed" }
prior = { type = "bernoulli" }
operator = { type = "block-gibbs", energy = { type = "rbm", hidden = 5 } }
[process]
type = "heated"
[objective]
type = "persistent-divergence"
chains = 10
restart = 0.2
""",
    "gsn": f"""
{DIGITS}
binarize = "threshold"
threshold = 0.5
[chain]
steps = 3
extend = "noise-end"
prior = {{ type = "bernoulli" }}
operator = {{ type = "gsn", hidden = [6], corruption = {{ type = "salt-and-pepper", rate = 0.4 }} }}
[process]
type = "chain-walk"
[objective]
type = "reconstruction"
gradient = "walk"
""",
}
METHODS = {name: COMMON + text for name, text in METHODS.items()}
METHODS["gsn"] = METHODS["gsn"].replace('"lower-bound", walks = ', '"parzen", samples = 1')
"""Its states hold hidden noise without a density, so that its figure is read off samples."""

UPDATES = 12
"""Every set has 200 training examples: three epochs of four batches."""

LOG_EVERY = 2
"""Updates between lines of the metrics, so that such short runs have some."""
