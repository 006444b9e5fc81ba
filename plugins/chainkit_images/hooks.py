"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component
from chainkit_datasets.configs import image_states, labelled_image_states
from chainkit_images.configs import CelebAConfig, CifarConfig, FashionMnistConfig, ImageFolderConfig, MnistConfig

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_datasets() -> list[Component]:
    """Image datasets."""
    return [
        Component(name="mnist", config=MnistConfig, build="chainkit_images.mnist:build_mnist", provides=labelled_image_states),
        Component(
            name="fashion-mnist",
            config=FashionMnistConfig,
            build="chainkit_images.mnist:build_fashion_mnist",
            provides=labelled_image_states,
        ),
        Component(name="cifar-10", config=CifarConfig, build="chainkit_images.cifar:build_cifar", provides=labelled_image_states),
        Component(name="celeba", config=CelebAConfig, build="chainkit_images.celeba:build_celeba", provides=image_states),
        Component(
            name="image-folder",
            config=ImageFolderConfig,
            build="chainkit_images.folder:build_image_folder",
            example={"path": "photographs"},
            provides=labelled_image_states,
        ),
    ]
