"""Write model-index.yml and configs/metafile.yml, the lists of models that OpenMMLab's tools read, from the configs.

python tools/model_index.py
"""
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from ghostdet.evaluation.expected import expected_of
from ghostdet.training.counting import measure_config
from ghostdet.training.datasets import dataset_of

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = '# Written by tools/model_index.py from the configs.\n'
PAPER = dict(URL='https://arxiv.org/abs/1911.11907', Title='GhostNet: More Features from Cheap Operations')


def files() -> dict[Path, str]:
    """Return both files and their content."""
    models = [model(config) for config in sorted((ROOT / 'configs').glob('*_coco*.py')) if 'coco128' not in config.stem]
    collection = dict(Name='ghostdet', Metadata=dict(Architecture=['GhostNet', 'FPN']), Paper=PAPER, README='README.md')
    metafile = yaml.safe_dump(dict(Collections=[collection], Models=models), sort_keys=False, width=120)
    return {ROOT / 'model-index.yml': f'{WRITTEN}Import:\n- configs/metafile.yml\n',
            ROOT / 'configs/metafile.yml': WRITTEN + metafile}


def model(config: Path) -> dict[str, Any]:
    """Return the entry of a config. Its cost is that of one image, as the config resizes it."""
    cfg = Config.fromfile(config)
    dataset = dataset_of(cfg, 'test')
    width, height = next(step.scale for step in dataset.pipeline if 'scale' in step)
    cost = measure_config(cfg, str(config), (height, width)).total
    entry = dict(
        Name=config.stem, Config=f'configs/{config.name}', **{'In Collection': 'ghostdet'},
        Metadata={'Training Data': 'COCO 2017', 'Epochs': cfg.train_cfg.max_epochs, 'Parameters': cost.parameters,
                  'MACs': cost.macs, 'Input': f'{width}x{height}'},
        Results=[dict(Task='Object Detection', Dataset='COCO 2017', Metrics={'box AP': 'not run'})])
    if cfg.get('expected'):
        expected = expected_of(cfg)
        entry['Expected'] = {'box AP': round(100 * expected.ap, 1), 'Tolerance': round(100 * expected.tolerance, 1),
                             'Source': expected.source}
    return entry


if __name__ == '__main__':
    for file, content in files().items():
        file.write_text(content)
