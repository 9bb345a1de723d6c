"""Write docs/zoo.md, the page of all configs, from configs/metafile.yml and the configs' first sentences.

python tools/model_zoo.py
"""
from pathlib import Path
from typing import Any

import yaml

from ghostdet.packaged_configs import packaged_configs, purpose
from ghostdet.tables import markdown_table
from ghostdet.weights.catalogue import DETECTORS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs/zoo.md'
TITLES = {'retinanet': 'RetinaNet', 'faster-rcnn': 'Faster R-CNN', 'nanodet-plus': 'NanoDet-Plus', 'yolov3': 'YOLOv3',
          'yolox': 'YOLOX', 'rtmdet': 'RTMDet'}
TOP = '''# Model zoo

<!-- Written by tools/model_zoo.py. -->

All configs, what they cost, and the AP that is known.

**AP**: box AP on COCO's val2017. Nobody has trained these configs on COCO here, so no AP is measured ("not run").
An AP that others have published for the same detector stands beside it, with its source:
`ghostdet test --check-expected` compares yours with it. Parameters and multiply-accumulates (MACs) are those of the
whole detector for one image of the size in the column *input* ([how they are counted](evidence/complexity.md)).

Train any of them with `ghostdet train NAME --data-root DIR`, and see its settings with `ghostdet configs NAME`.
Backbones start from [published ImageNet weights](how-to/weights.md). Trained detectors exist for the names in the
column *weights* only.'''


def page() -> str:
    """Return the content of docs/zoo.md."""
    models = yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']
    weights = {entry.config: f'`ghostdet://{name}`' for name, entry in DETECTORS.items()}
    parts = [TOP]
    for family, title in TITLES.items():
        rows = [row(model, weights) for model in models if model['Name'].startswith(f'{family}_')]
        header = ['config', 'input', 'epochs', 'parameters M', 'MACs G', 'AP, measured', 'AP, published', 'weights']
        parts += [f'## {title}', markdown_table([header, *rows])]
    known = {model['Name'] for model in models}
    others = [[f'`{name}`', purpose(file)] for name, file in packaged_configs().items() if name not in known]
    parts += ['## Small data, your own data, and pretraining', markdown_table([['config', 'what it is'], *others])]
    return '\n\n'.join(parts) + '\n'


def row(model: dict[str, Any], weights: dict[str, str]) -> list[str]:
    """Return the cells of a model."""
    facts, expected = model['Metadata'], model.get('Expected')
    measured = model['Results'][0]['Metrics']['box AP']
    return [f'`{model["Name"]}`', facts['Input'], str(facts['Epochs']), f'{facts["Parameters"] / 1e6:.2f}',
            f'{facts["MACs"] / 1e9:.2f}', str(measured),
            f'{expected["box AP"]:.1f} ({expected["Source"]})' if expected else '',
            weights.get(model['Name'], '')]


if __name__ == '__main__':
    PAGE.write_text(page())
