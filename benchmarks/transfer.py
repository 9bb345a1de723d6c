"""Test at small scale if pretraining helps a detector: from scratch against a classifier, on generated images.

python -m benchmarks.transfer --out work_dirs/transfer
"""
import argparse
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.evaluation.plots import read_scalars

CLASSIFIER = 'ghostnet_1.1x_shapes'
DETECTOR = 'retinanet_ghostnet_1.1x_mini'


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/transfer'),
                        help='folder for the three runs and the chart; default %(default)s')
    parser.add_argument('--epochs', type=int, default=4, help='epochs of each detector; default %(default)s')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='config settings to replace, for both detectors')
    parser.add_argument('--pretrain-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='config settings to replace, for the classifier')
    return parser.parse_args(arguments)


def run(verb: str, config: str, work_dir: Path, options: list[str]) -> None:
    """Print and run another command."""
    command = [sys.executable, '-m', 'ghostdet', verb, config, '--work-dir', str(work_dir), '--cfg-options', *options]
    print('\n$', ' '.join(command), flush=True)
    if subprocess.run(command).returncode:
        raise UserError(f'{verb} failed; its error message is above')


def main(arguments: list[str] | None = None) -> None:
    """Pretrain a classifier, train the detector from scratch and from the classifier, and draw the chart."""
    options = parse(arguments)
    run('pretrain', CLASSIFIER, options.out / 'classifier',
        ['default_hooks.checkpoint.max_keep_ckpts=1', *options.pretrain_options])
    classifier = max((options.out / 'classifier').glob('epoch_*.pth'), key=lambda file: file.stat().st_mtime)
    budget = [f'train_cfg.max_epochs={options.epochs}', 'train_cfg.val_interval=1', *options.cfg_options]
    weights = ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={classifier}']
    runs = {'from scratch': options.out / 'scratch', 'from the classifier': options.out / 'pretrained'}
    for work_dir, start in zip(runs.values(), ([], weights)):
        run('train', DETECTOR, work_dir, [*budget, *start])
    draw_comparison(runs, options.out / 'transfer.png')
    print(f'\n{options.out / "transfer.png"}')


def draw_comparison(runs: dict[str, Path], out: Path) -> None:
    """Draw AP by epoch of several runs in one chart.

    Args:
        runs: work directories by name of the run.
        out: the image file to write.
    """
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, work_dir in runs.items():
        _, validation = read_scalars(work_dir)
        axes.plot([record['step'] for record in validation], [record['coco/bbox_mAP'] for record in validation],
                  marker='.', label=name)
    axes.set(xlabel='epoch', ylabel='box AP', ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=110)


if __name__ == '__main__':
    sys.exit(door.run(main))
