"""Damage an exported file in many ways, one tensor at a time, and see which damages its self-check finds.

python -m benchmarks.self_check detector.xml --images BCCD/val --annotations BCCD/val.json

A damage that is missed is evaluated: it may change AP by little only.
"""
import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.evaluation.coco_table import evaluate
from ghostdet.infer.exported import NetworkInput, detect, prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.opening import arithmetic
from ghostdet.infer.self_check import run_check
from ghostdet.infer.sessions import open_session, openvino_core, outputs
from ghostdet.progress import progress
from ghostdet.tables import markdown_table

KINDS = {'zero': lambda values, random: values * 0,
         'half': lambda values, random: values * 0.5,
         'double': lambda values, random: values * 2,
         'shuffled channels': lambda values, random: values[random.permutation(len(values))],
         'one channel zero': lambda values, random: np.where(
             (np.arange(len(values)) == random.integers(len(values))).reshape(-1, *[1] * (values.ndim - 1)), 0, values)}
SMALLEST = 4  # numbers in a tensor that is damaged


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('file', type=Path, help='.xml file of "ghostdet export"')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR', help='images to evaluate on')
    parser.add_argument('--annotations', type=Path, required=True, metavar='FILE', help='their boxes, in COCO format')
    parser.add_argument('--count', type=int, default=200, metavar='N', help='damages; default %(default)s')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the choice; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Damage, check, evaluate what was missed, and print a table."""
    options = parse(arguments)
    study = Study(options.file, options.images, options.annotations)
    whole, random = study.ap(study.model()), np.random.default_rng(options.seed)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    missed = []
    for _ in progress(range(options.count), 'damages', options.count):
        kind, name, model = damaged(study, random)
        session = Opened(study, model)
        check = run_check(session, arithmetic(session, 'fp32'))
        found[kind].append(check.difference if not check.passes else 0)
        if check.passes:
            missed.append((kind, name, check.difference, study.ap(session) - whole))
    rows = [[kind, str(len(figures)), str(sum(figure > 0 for figure in figures)),
             f'{min([figure for figure in figures if figure], default=0):.2g}'] for kind, figures in found.items()]
    print(markdown_table([['damage', 'tensors', 'found', 'smallest difference found'], *rows]))
    print(f'\n{study.manifest.precision}, AP {whole:.3f}: {options.count - len(missed)} of {options.count} found')
    for kind, name, difference, change in sorted(missed, key=lambda entry: -abs(entry[3])):
        print(f'missed: {kind} in {name}, difference {difference:.2g}, AP {change:+.4f}')


class Study:
    """A file, and images to evaluate it on."""

    def __init__(self, file: Path, images: Path, annotations: Path) -> None:
        self.file, self.manifest, self.annotations = file, open_session(file).manifest, annotations
        content = json.loads(annotations.read_text())
        self.ids = [image['id'] for image in content['images']]
        self.categories = {category['name']: category['id'] for category in content['categories']}
        self.inputs: list[NetworkInput] = [prepare((images / image['file_name']).read_bytes(), self.manifest)
                                           for image in content['images']]

    def model(self, graph: Any = None) -> 'Opened':
        """Return the file as a session, with another graph if one is given."""
        return Opened(self, graph or openvino_core().read_model(self.file))

    def ap(self, session: 'Opened') -> float:
        """Return COCO's AP."""
        categories = [self.categories[name] for name in self.manifest.classes]
        records = []
        for image_id, image, (boxes, scores, labels) in zip(self.ids, self.inputs, detect(session, self.inputs)):
            boxes = boxes / np.array(image.scale * 2)
            records += [dict(image_id=image_id, category_id=categories[label], score=float(score),
                             bbox=[*box[:2].tolist(), *(box[2:] - box[:2]).tolist()])
                        for box, score, label in zip(boxes, scores, labels)]
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / 'results.json'
            results.write_text(json.dumps(records))
            return float(evaluate(self.annotations, results).metrics['AP']) if records else 0.


class Opened:
    """A graph in OpenVINO with the interface of a session; the maps are outputs of the same copy."""

    package, module = 'OpenVINO', 'openvino'

    def __init__(self, study: Study, graph: Any) -> None:
        self.manifest: Manifest = study.manifest
        graph.add_outputs(self.manifest.map_names)
        settings = dict(INFERENCE_PRECISION_HINT='f32', PERFORMANCE_HINT='LATENCY')
        self.request = openvino_core().compile_model(graph, 'CPU', settings).create_infer_request()

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the boxes."""
        return self._values(outputs(self.manifest), image, size)

    def maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        """Return the maps."""
        return list(self._values(self.manifest.map_names, image, size))

    def _values(self, names: Sequence[str], image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        result = self.request.infer(dict(image=image, size=size))
        return tuple(result[name].copy() for name in names)


def damaged(study: Study, random: np.random.Generator) -> tuple[str, str, Any]:
    """Return a kind of damage, the name of the tensor, and the graph."""
    import openvino
    from openvino import opset13
    graph = openvino_core().read_model(study.file)
    constants = list(weights(graph))
    chosen, kind = constants[random.integers(len(constants))], list(KINDS)[random.integers(len(KINDS))]
    values = KINDS[kind](chosen.data.copy(), random)
    limits = np.iinfo(chosen.data.dtype) if chosen.data.dtype.kind == 'i' else None
    values = values.clip(limits.min, limits.max) if limits else values
    replaced = opset13.constant(openvino.Tensor(np.ascontiguousarray(values.astype(chosen.data.dtype))))
    chosen.output(0).replace(replaced.output(0))
    return kind, chosen.get_friendly_name(), graph


def weights(graph: Any) -> Iterator[Any]:
    """Yield the constants of the network that hold weights or biases."""
    for node in graph.get_ordered_ops():
        if (node.get_type_name() == 'Constant' and node.get_element_type().get_type_name() in ('f32', 'i8', 'u8')
                and node.data.ndim > 1 and node.data.size >= SMALLEST and node.data.any()):
            yield node


if __name__ == '__main__':
    raise SystemExit(door.run(main))
