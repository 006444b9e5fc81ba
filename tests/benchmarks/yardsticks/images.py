"""The data path of a user: images decoded one by one by Pillow, put together by a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor


class Images(Dataset):
    """Grey images, scaled to [0, 1].

    Arguments:
        values: Pixels, uint8 [N, rows, columns].
        dequantize: Whether uniform noise is added before scaling.
    """

    def __init__(self, values: Tensor, dequantize: bool) -> None:
        self.values = values
        self.dequantize = dequantize

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.fromarray(self.values[index].numpy())
        pixels = pil_to_tensor(image).float()
        return (pixels + torch.rand_like(pixels) if self.dequantize else pixels) / 256


def batches(values: Tensor, rows: int, workers: int, dequantize: bool) -> Iterator[Tensor]:
    """Shuffled batches, epoch after epoch.

    Arguments:
        values: Pixels, uint8 [N, rows, columns].
        rows: Images in a batch.
        workers: Processes that decode; 0 decodes in this one.
        dequantize: Whether uniform noise is added before scaling.
    """
    images = Images(values, dequantize)
    loader = DataLoader(images, batch_size=rows, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader
