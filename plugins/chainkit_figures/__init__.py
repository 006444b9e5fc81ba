"""Pictures of samples, chains and training, drawn into a run's ``pictures`` folder with matplotlib.

From Python::

    from chainkit_figures.draw import pictures, rendered
    from chainkit_figures.images import as_images, grid

    array = grid(as_images(samples.state))            # uint8 [rows, columns, 3], one image beside the other
    figures = pictures(samples, data)                 # matplotlib figures by name: samples, means, chain
"""
