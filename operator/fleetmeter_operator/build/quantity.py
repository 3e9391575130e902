"""Kubernetes quantities: the API server may write 1024Mi as 1Gi."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "m": -3}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4}


def quantity(text: object) -> Decimal:
    """The value of a quantity, in units. Raises ValueError."""
    match = re.fullmatch(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    unit = match[2] or ""
    scale = Decimal(1024) ** _BINARY[unit] if unit in _BINARY else Decimal(10) ** _UNITS[unit]
    return Decimal(match[1]) * scale
