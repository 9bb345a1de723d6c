"""How fast exported files are beside the checkpoint, from an image's file to its boxes."""
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from ghostdet.analysis.speed import Spread
from ghostdet.tables import markdown_table

HEADER = ('', 'ms an image', 'quarters', 'times as fast', 'quarters')


@dataclass(frozen=True)
class DeploySpeed:
    """Seconds an image of each contestant, round by round; the first is the one that the others are compared with."""

    what: str
    seconds: dict[str, tuple[float, ...]]

    def times(self, name: str) -> Spread:
        """Milliseconds an image."""
        return Spread.of([1000 * value for value in self.seconds[name]])

    def ratios(self, name: str) -> Spread:
        """How many times as fast as the first, by neighbours in time."""
        first = next(iter(self.seconds.values()))
        return Spread.of([one / other for one, other in zip(first, self.seconds[name])])

    def lines(self) -> list[list[str]]:
        """A header and a line for each contestant."""
        lines = [list(HEADER)]
        for name in self.seconds:
            time, ratio = self.times(name), self.ratios(name)
            lines.append([name, f'{time.median:.1f}', f'{time.low:.1f} to {time.high:.1f}', f'{ratio.median:.2f}',
                          f'{ratio.low:.2f} to {ratio.high:.2f}'])
        return lines

    def to_text(self) -> str:
        """For a terminal."""
        lines = self.lines()
        wide = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
        table = ('  '.join(f'{cell:{width}}' for cell, width in zip(line, wide)).rstrip() for line in lines)
        return '\n'.join([self.what, *table])

    def to_markdown(self) -> str:
        """For a page."""
        return f'{self.what}\n\n{markdown_table(self.lines())}\n'

    def draw(self, out: Path) -> None:
        """Bars of milliseconds an image, whose lines are the quarters, as a PNG."""
        figure, axes = plt.subplots(figsize=(8, 0.6 * len(self.seconds) + 1.4), layout='constrained')
        for place, name in enumerate(self.seconds):
            time = self.times(name)
            ends = [[time.median - time.low], [time.high - time.median]]
            axes.barh(place, time.median, xerr=ends, color='tab:blue', alpha=0.8)
            axes.text(time.high, place, f'  {self.ratios(name).median:.2f}x', va='center')
        axes.set_yticks(range(len(self.seconds)), list(self.seconds))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(xlabel='ms an image, from file to boxes')
        figure.suptitle(self.what, fontsize=8)
        figure.savefig(out, dpi=110)
        plt.close(figure)
