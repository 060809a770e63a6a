"""One seed for every generator of random numbers that is in use."""

from __future__ import annotations

import random
import sys
from typing import Any

from mlops_nb.errors import InvalidInput


def seed_everything(seed: Any) -> int:
    """Seed Python's generator and, where they are loaded, numpy's and torch's; return the seed.

    Raises:
        InvalidInput: If it is no whole number from 0 to 2**32 - 1, which numpy takes.
    """
    try:
        number = int(seed)
    except (TypeError, ValueError):
        raise InvalidInput(f"The seed is {seed!r:.60}, not a whole number.") from None
    if not 0 <= number < 2**32:
        raise InvalidInput(f"The seed is {number}.", hint="Use a number from 0 to 4294967295.")
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)
    return number
