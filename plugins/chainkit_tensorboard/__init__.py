"""TensorBoard: scalars, sample grids and chain strips of a run that asks for it under ``observers``."""
