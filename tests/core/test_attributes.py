"""Whatever Python keeps in a model is missed where it changes; what stays is not, nor what is as it was again."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import attrs
import pytest
import torch
from torch import nn

from chainkit.attributes import Attributes


@attrs.define
class Settings:
    """Attributes in slots."""

    rate: float = 0.5


class Layer(nn.Module):
    """Keeps something in every way that there is."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.settings = Settings()
        self.table = {"widths": [1, 2], "names": {"a"}}
        self.pair = (Settings(), OrderedDict(one=1))
        self.link = self._closing(Settings())
        self.part = partial(int, base=[2])
        self.own = self.forward

    def _closing(self, settings):
        return lambda values: values * settings.rate

    def forward(self, values):
        return self.linear(values)


def _set(owner, **values):
    for name, value in values.items():
        setattr(owner, name, value)


CHANGES = {
    "training": lambda layer: layer.eval(),
    "settings.rate": lambda layer: _set(layer.settings, rate=0.4),
    "settings": lambda layer: _set(layer, settings=Settings()),
    "calls": lambda layer: _set(Layer, calls=1),
    "table.widths.1": lambda layer: layer.table["widths"].__setitem__(1, 3),
    "table.widths": lambda layer: layer.table["widths"].append(3),
    "table.names": lambda layer: layer.table["names"].add("b"),
    "table": lambda layer: layer.table.update(more=1),
    "pair.0.rate": lambda layer: _set(layer.pair[0], rate=0.4),
    "pair.1.one": lambda layer: layer.pair[1].update(one=2),
    "link.cell_contents.rate": lambda layer: _set(layer.link.__closure__[0].cell_contents, rate=1.0),
    "part.keywords.base.0": lambda layer: layer.part.keywords["base"].__setitem__(0, 3),
    "linear": lambda layer: _set(layer, linear=nn.Linear(2, 3)),
    "linear.in_features": lambda layer: _set(layer.linear, in_features=3),
    "linear.bias": lambda layer: _set(layer.linear, bias=None),
    "linear.weight": lambda layer: _set(layer.linear.weight, data=layer.linear.weight.data.clone()),
    "linear._forward_hooks": lambda layer: layer.linear.register_forward_hook(print),
    "seen": lambda layer: _set(layer, seen=torch.zeros(())),
    "": lambda layer: _set(layer, new=1),
}


@pytest.fixture
def layer():
    yield Layer()
    Layer.calls = 0


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_and_named(name, layer):
    attributes = Attributes(layer)
    assert attributes.changed() is None
    CHANGES[name](layer)
    assert attributes.changed() == name


def test_what_goes_missing_is_named(layer):
    attributes = Attributes(layer)
    del layer.settings
    layer.other = 1
    assert attributes.changed() == "settings"


def test_numbers_of_tensors_may_change_and_equal_numbers_be_set_again(layer):
    attributes = Attributes(layer)
    with torch.no_grad():
        layer.linear.weight.add_(1)
        layer.seen += 1
    layer.linear(torch.ones(2)).sum().backward()
    layer.settings.rate = float("0.5")
    layer.train()
    assert attributes.changed() is None


def test_what_holds_itself_is_looked_at_once(layer):
    layer.table["own"] = layer.table
    layer.table["layer"] = [layer]
    attributes = Attributes(layer)
    assert attributes.changed() is None
    layer.settings.rate = 1
    assert attributes.changed() == "settings.rate"


def test_what_a_function_does_not_yet_close_over_is_left_out_and_what_it_does_no_more_is_missed(layer):
    def link(values):
        return values * later

    layer.link = link
    assert Attributes(layer).changed() is None
    later = 2.0
    attributes = Attributes(layer)
    assert link(1.0) == later
    assert attributes.changed() is None
    del link.__closure__[0].cell_contents
    assert attributes.changed() == "link.cell_contents"
