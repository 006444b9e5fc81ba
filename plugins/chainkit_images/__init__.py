"""Datasets of images that are downloaded, or read from a folder: MNIST, Fashion-MNIST, CIFAR-10, CelebA and your own.

All stay uint8 until a batch is prepared (:mod:`chainkit_datasets.preparation`). What must be decoded
is decoded once, into an array beside the data that is mapped into memory from then on.
"""
