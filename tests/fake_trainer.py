"""Stands in for `ghostdet train`: writes the files of a run in a fraction of a second, and a diary of what it did.

An epoch that is done is not done again. Diary, in the folder above the work directory: one line for each start, epoch
and end.
"""
import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

EPOCH = 0.05  # seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('config', type=Path)
    parser.add_argument('--work-dir', type=Path)
    parser.add_argument('--data-root')
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--cfg-options', nargs='+')
    options = parser.parse_args()
    folder, settings = options.work_dir, dict(pair.split('=') for pair in options.cfg_options)
    signal.signal(signal.SIGINT, lambda *_: stop(folder))
    (folder / 'log/vis_data').mkdir(parents=True, exist_ok=True)
    tell(folder, 'begins')
    if settings.get('fail') == folder.name:
        sys.exit('this one fails')
    for epoch in range(1, int(settings['train_cfg.max_epochs']) + 1):
        if not (folder / f'epoch_{epoch}.pth').exists():
            train(folder, epoch)
    (folder / 'coco.json').write_text(json.dumps(dict(metrics=dict.fromkeys(
        ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large'), 0.25))))
    tell(folder, 'ends')


def train(folder, epoch):
    time.sleep(EPOCH)
    records = [dict(loss=1, step=10 * epoch, epoch=epoch, time=0.5),
               dict(step=epoch, time=0.1, **{'coco/bbox_mAP': epoch / 100})]
    with (folder / 'log/vis_data/scalars.json').open('a') as log:
        log.writelines(json.dumps(record) + '\n' for record in records)
    (folder / f'epoch_{epoch}.pth').touch()
    tell(folder, f'epoch {epoch}')


def stop(folder):
    """As a run that saves its state first."""
    time.sleep(0.3)
    tell(folder, 'stops')
    sys.exit(130)


def tell(folder, what):
    with (folder.parent / 'diary').open('a') as diary:
        diary.write(f'{os.getpid()} {folder.name} {what}\n')


if __name__ == '__main__':
    main()
