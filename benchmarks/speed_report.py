"""Write the tables and charts of a benchmark."""
from pathlib import Path

from benchmarks.speed_plots import draw_flops, draw_sizes
from benchmarks.speed_table import SpeedTable
from ghostdet.files import make_folder, write_whole


def write_speed(table: SpeedTable, folder: Path) -> None:
    """Write speed.json, speed.csv, speed.md and two charts into `folder`.

    Raises:
        UserError: the folder cannot be created.
    """
    make_folder(folder, '--out')
    for ending, text in (('json', table.to_json()), ('csv', table.to_csv()), ('md', table.to_markdown())):
        write_whole(folder / f'speed.{ending}', text.encode())
    draw_sizes(table, folder / 'speed_sizes.png')
    draw_flops(table, folder / 'speed_flops.png')
