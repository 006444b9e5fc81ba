"""Optimisers and learning-rate schedules: torch's own optimisers, and factors of the learning rate.

A decay is a function of (update, updates), the number of updates made and to be made in all, to a
factor in [0, 1] of the learning rate.
"""
