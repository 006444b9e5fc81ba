"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component
from chainkit_datasets.capabilities import image_states, labelled_image_states

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_datasets() -> list[Component]:
    """Image datasets."""
    return [
        Component(
            name="mnist",
            config="chainkit_images.configs:MnistConfig",
            build="chainkit_images.mnist:build_mnist",
            provides=labelled_image_states,
        ),
        Component(
            name="fashion-mnist",
            config="chainkit_images.configs:FashionMnistConfig",
            build="chainkit_images.mnist:build_fashion_mnist",
            provides=labelled_image_states,
        ),
        Component(
            name="cifar-10",
            config="chainkit_images.configs:CifarConfig",
            build="chainkit_images.cifar:build_cifar",
            provides=labelled_image_states,
        ),
        Component(
            name="celeba", config="chainkit_images.configs:CelebAConfig", build="chainkit_images.celeba:build_celeba", provides=image_states
        ),
        Component(
            name="image-folder",
            config="chainkit_images.configs:ImageFolderConfig",
            build="chainkit_images.folder:build_image_folder",
            example={"path": "photographs"},
            provides=labelled_image_states,
        ),
    ]
