"""The demonstration's job: real measurements and a plain script that reads them.

`directory` is where they lie, in a checkout and in an installed package alike.
The script knows nothing of this package; any provider's Python can run it.
"""

from pathlib import Path
from typing import Final

SCRIPT: Final = "analyse.py"
TABLE: Final = "co2.csv"


def directory() -> Path:
    """Return the folder that holds `SCRIPT` and `TABLE`."""
    return Path(__file__).parent
