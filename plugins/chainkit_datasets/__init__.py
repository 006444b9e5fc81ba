"""Datasets that need no download, and the preparations that every dataset of pixels offers.

Handwritten digits, patches of two photographs, small synthetic sets whose optimum is known, and
arrays from a file. From Python a dataset is built as a recipe builds it::

    from chainkit.component import Context
    from chainkit_datasets.configs import DigitsConfig
    from chainkit_datasets.digits import build_digits

    data = build_digits(DigitsConfig(scale=17, dequantize=True), Context())
"""
