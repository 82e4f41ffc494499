"""Say what the months of a table have in common."""

import sys
from pathlib import Path

from means import mean

lines = Path(sys.argv[1]).read_text().splitlines()[1:]
values = [float(line.split(",")[1]) for line in lines]
average = f"{len(values)} months, {mean(values):.2f} ppm on average\n"
Path("report.txt").write_text(average)
