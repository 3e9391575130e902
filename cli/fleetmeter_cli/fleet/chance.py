"""Chance: numbers that look random and are the same on every machine, for the same seed."""

from random import Random

Chance = Random
"""Only `random()` and `getrandbits()` are used: what they give is fixed, the other methods may change."""


def chance(*seeds: object) -> Chance:
    """A source of its own for each combination of seeds, so that one part's draws move no other's."""
    return Random("/".join(str(seed) for seed in seeds))  # noqa: S311  a model, no secret


def between(source: Chance, low: int, high: int) -> int:
    """A whole number from low to high, high excluded; low where there is no room."""
    return low + int(source.random() * max(high - low, 1))


def count(source: Chance, mean: float) -> int:
    """How often something happens: the mean, rounded up or down so that it is met on average."""
    return int(mean + source.random())
