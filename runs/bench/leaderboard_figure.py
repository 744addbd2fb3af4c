"""The figure of :mod:`leaderboard`: kNN and linear accuracy of each method, a panel for each backbone."""

from pathlib import Path

from ssl_eval.figures.style import COLORS, paper

MEASURES = (("kNN, k = 20", 1, "o", COLORS[0]), ("linear probe", 2, "D", COLORS[1]))  # legend, column, marker, colour
REFERENCE_LINES = {"raw pixels": ":", "untrained encoder": "--"}


def draw(lines: list[tuple[str, ...]], path: Path) -> None:
    """Write the figure of the table of :class:`leaderboard.Leaderboard`; references are lines of the same colours."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    methods = [line for line in lines[1:] if line[0] not in REFERENCE_LINES]
    panels = {backbone: [line for line in methods if line[-1] == backbone] for backbone in ("resnet9", "ViT")}
    panels = {backbone: own for backbone, own in panels.items() if own}
    with paper():
        longest = max(len(own) for own in panels.values())
        figure = Figure((7.0, 0.9 + 0.16 * longest), layout="constrained")
        for ax, (backbone, own) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
            own = sorted(own, key=lambda line: _mean(line[1]))
            for _, column, marker, color in MEASURES:
                ax.plot([_mean(line[column]) for line in own], range(len(own)), marker, color=color, markersize=4)
                for line in lines:  # raw pixels do not depend on the backbone
                    if line[0] == "raw pixels" or (line[0] in REFERENCE_LINES and line[-1] == backbone):
                        style = {"color": color, "linestyle": REFERENCE_LINES[line[0]], "linewidth": 0.9}
                        ax.axvline(_mean(line[column]), **style)
            ax.set_yticks(range(len(own)), [line[0] for line in own])
            ax.set_ylim(len(own) - longest - 0.7, len(own) - 0.3)  # the best at the top, at equal distances
            ax.set_title("ResNet-9 of width 16" if backbone == "resnet9" else "ViT of width 96, depth 4")
            ax.set_xlabel("test accuracy, %")
        handles = [Line2D([], [], color=color, marker=marker, linestyle="") for _, _, marker, color in MEASURES]
        handles += [Line2D([], [], color="#404040", linestyle=dashes) for dashes in REFERENCE_LINES.values()]
        names = [*(name for name, *_ in MEASURES), *REFERENCE_LINES]
        figure.legend(handles, names, loc="outside upper center", ncols=len(handles))
        figure.savefig(path, dpi=130)


def _mean(cell: str) -> float:
    """Return the mean of a cell that may have a deviation."""
    return float(cell.split(" ")[0])
