"""Write docs/zoo.md, the page of all configs, from configs/metafile.yml and the names of the configs.

python tools/model_zoo.py
"""
from pathlib import Path
from typing import Any

import yaml

from ghostdet.packaged_configs import packaged_configs
from ghostdet.tables import markdown_table
from ghostdet.weights.catalogue import DETECTORS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs/zoo.md'
KINDS = {'_paper-bn': 'Table 9 with batch norm statistics that are updated',  # by the end of the name
         '_mini': 'On the built-in shapes, in minutes', '_finetune': 'For images of your own',
         '_coco128': 'On 128 images of COCO', '_imagenet': 'A classifier on ImageNet',
         '_shapes': 'A small classifier on generated images'}
TOP = '''# Model zoo

<!-- Written by tools/model_zoo.py. -->

All configs, what they cost, and the AP that is known.

Train any of them with `ghostdet train NAME --data-root DIR`, and see its settings with `ghostdet configs NAME`.
Backbones start from [published ImageNet weights](how-to/weights.md).

**AP**: box AP on COCO's val2017. Nobody has trained these configs on COCO here. The AP was published by others for the
same detector; `ghostdet test --check-expected` compares yours with it. **Parameters** and multiply-accumulates
(**MACs**) are those of the whole detector for one image of the input size
([how they are counted](evidence/table9.md#what-is-counted)).'''
COLUMNS = ['config', 'input', 'parameters M', 'MACs G']


def page() -> str:
    """Return the content of docs/zoo.md. A config with the figures of another one is only in the list."""
    models: dict[tuple, dict[str, Any]] = {}
    for model in yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']:
        models.setdefault((*cells(model)[1:], ap(model)), model)
    weights = {entry.config: f'`ghostdet://{name}`' for name, entry in DETECTORS.items()}
    published = [[*cells(model), ap(model), str(model['Metadata']['Epochs']), weights.get(model['Name'], '')]
                 for model in models.values() if ap(model)]
    others = [cells(model) for model in models.values() if not ap(model)]
    names = packaged_configs().keys() - {model['Name'] for model in models.values()}
    kinds = [f'- {kind}: {", ".join(f"`{name}`" for name in sorted(names) if name.endswith(end))}'
             for end, kind in KINDS.items()]
    return '\n\n'.join([
        TOP, '## With a published AP', markdown_table([[*COLUMNS, 'AP', 'epochs', 'trained weights'], *published]),
        '## On COCO, not run', markdown_table([COLUMNS, *others]), '## Others', '\n'.join(kinds)]) + '\n'


def cells(model: dict[str, Any]) -> list[str]:
    """Return the name and the cost of a model."""
    facts = model['Metadata']
    return [f'`{model["Name"]}`', facts['Input'], f'{facts["Parameters"] / 1e6:.2f}', f'{facts["MACs"] / 1e9:.2f}']


def ap(model: dict[str, Any]) -> str:
    """Return the AP that was published for a model, with its source; empty: none."""
    expected = model.get('Expected')
    return f'{expected["box AP"]:.1f} ({expected["Source"]})' if expected else ''


if __name__ == '__main__':
    PAGE.write_text(page())
