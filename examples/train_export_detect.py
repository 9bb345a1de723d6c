"""Train the small detector for an epoch, evaluate, export and use it; twice, as runs must not disturb each other.

python examples/train_export_detect.py work_dirs/example data/shapes    # `make train` has put the small data set there
"""
import sys
from pathlib import Path

import ghostdet

CONFIG = 'retinanet_ghostnet_1.1x_mini'
SHORT = {'train_cfg.max_epochs': 1, 'model.test_cfg.score_thr': 0}  # so that a detector finds something after one epoch
for run in ('first', 'second'):
    out, data = Path(sys.argv[1]) / run, Path(sys.argv[2])
    ghostdet.train(CONFIG, data_root=data, work_dir=out, cfg_options=SHORT)
    report = ghostdet.evaluate(out / 'epoch_1.pth')
    images = data / 'val2017'
    exported = ghostdet.export(out / 'epoch_1.pth', out / 'detector.onnx', shape=(64, 64), images=images)
    found = ghostdet.Detector(exported.file)(sorted(images.iterdir())[0], threshold=0)
    print(f'{run}: AP {report.ap:.3f}; {len(found)} boxes, the best is {next(iter(found))}')
