"""Sweeps: one recipe at every point of a grid of settings, each point an ordinary run.

From Python::

    from chainkit_sweep.results import collected
    from chainkit_sweep.plan import read_sweep

    sweep = read_sweep(Path("runs/infusion_digits-sweep"))
    for figure in collected(sweep):                   # figures at every setting, over training seeds
        print(figure.label, figure.best)
"""
