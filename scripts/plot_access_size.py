"""Writes docs/figures/access_size.svg: bandwidth of scattered reads against their size.

python scripts/plot_access_size.py

Simulates the DRAM of a 950PR, which moves whole transactions of 128 bytes, and of a 910B2, which
moves 512. Prints the table that docs/memory.md shows. Needs matplotlib.
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from torch_npu_sim import _C

SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096]
CHIPS = ["ascend950pr", "ascend910b2"]
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "access_size.svg"


def useful_share(chip: str, size: int) -> tuple[float, float]:
    """Returns useful bytes a second, and their share of the peak, of scattered reads of a size."""
    result = _C.dram_bandwidth(chip, 0.0, float(size), "")
    transaction = result["transaction_bytes"]
    moved = -(-size // transaction) * transaction
    useful = result["bytes_per_s"] * size / moved
    return useful, useful / result["peak_bytes_per_s"]


def plot(rows: dict[str, list[tuple[float, float]]]) -> None:
    """Draws the share of the peak against the size."""
    matplotlib.rcParams["svg.hashsalt"] = "access_size"  # the same file in every run
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for chip, marker in zip(CHIPS, "os", strict=True):
        axes.plot(SIZES, [100 * share for _, share in rows[chip]], marker=marker, label=chip)
    axes.set_xscale("log", base=2)
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.set_xlabel("bytes of one scattered read")
    axes.set_ylabel("useful share of the peak, %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    """Prints the table and draws the figure."""
    rows = {chip: [useful_share(chip, size) for size in SIZES] for chip in CHIPS}
    print("| Bytes | " + " | ".join(f"{chip}, GB/s | of peak" for chip in CHIPS) + " |")
    print("| ---: |" + " ---: | ---: |" * len(CHIPS))
    for i, size in enumerate(SIZES):
        cells = [f"{rows[chip][i][0] / 1e9:.0f} | {rows[chip][i][1]:.1%}" for chip in CHIPS]
        print(f"| {size} | " + " | ".join(cells) + " |")
    plot(rows)


if __name__ == "__main__":
    main()
