"""How the boxes of overlapping tiles are joined: ghostdet's way beside those of supervision and sahi, if installed.

python -m benchmarks.tile_joins detector.xml --data-root coco128 --out work_dirs/tile_joins

Images of a data set, side by side, are large pictures whose objects are known. The detector runs on each tile once; all
ways join the same boxes.
"""
import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.data.sources import find_sources
from ghostdet.evaluation.coco_table import CocoTable, evaluate
from ghostdet.files import make_folder, write_whole
from ghostdet.images.decode import decode
from ghostdet.images.tiling import Tile, tiles_of
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.tiles import joined, moved
from ghostdet.progress import progress
from ghostdet.tables import markdown_table
from ghostdet.training.provenance import machine

Size = tuple[int, int]  # height and width in pixels
Join = Callable[[list[Detections], list[Tile], Size], Detections]
CELL, GREY, MATCH = 600, 114, 0.5
LIMIT = 1000  # boxes of a picture that are evaluated


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='file of "ghostdet export", or a checkpoint')
    parser.add_argument('--data-root', type=Path, required=True, metavar='DIR', help='data set; takes its train split')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/tile_joins'), metavar='DIR',
                        help='folder for tile_joins.json and tile_joins.md; default %(default)s')
    parser.add_argument('--columns', type=int, default=4, metavar='N',
                        help='images side by side, in as many rows; default %(default)s')
    parser.add_argument('--tile', type=int, default=640, metavar='N', help='pixels of a tile; default %(default)s')
    parser.add_argument('--overlaps', type=int, nargs='+', default=[160, 320], metavar='N', help='default %(default)s')
    parser.add_argument('--floor', type=float, default=0.05, help='lowest score of a box; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Detect in tiles, join in all ways, evaluate, and write the table."""
    options = parse(arguments)
    make_folder(options.out, '--out')
    detector = Detector(options.model)
    source = find_sources(options.data_root)['train']().check()
    pictures, truth = mosaics(source.content, source.split.images, options.columns)
    ids = {category['name']: category['id'] for category in truth['categories']}
    rows = []
    for overlap in options.overlaps:
        found, seconds = detected(detector, pictures, options.tile, overlap, options.floor)
        for name, join in ways().items():
            begin, records = time.monotonic(), list[dict]()
            for number, one in enumerate(found, 1):
                known = join(*one).relabelled([list(ids).index(label) if label in ids else -1
                                               for label in detector.classes], tuple(ids))
                records += known.to_coco(number, list(ids.values()))
            took = time.monotonic() - begin
            table = evaluated(truth, records)
            rows.append(dict(overlap=overlap, way=name, **table.at_limit, F1=table.point.total.to_dict()['F1'],
                             join_seconds=took / len(found), network_seconds=seconds / len(found)))
    write_whole(options.out / 'tile_joins.json', json.dumps(
        dict(machine=machine(0), options=vars(options), pictures=len(pictures), rows=rows), default=str,
        indent=1).encode())
    names = ['overlap', 'way', 'AP', 'AP50', 'AP_small', 'AP_medium', 'AP_large', 'F1', 'join_seconds',
             'network_seconds']
    text = markdown_table([names, *([f'{row[name]:.3f}' if isinstance(row[name], float) else str(row[name])
                                     for name in names] for row in rows)])
    write_whole(options.out / 'tile_joins.md', f'{text}\n'.encode())
    print(f'\n{text}\n\n{options.out}/tile_joins.json, tile_joins.md')


def mosaics(content: dict, folder: Path, columns: int) -> tuple[list[np.ndarray], dict]:
    """Return pictures (H, W, 3) BGR of `columns` x `columns` images, and their boxes in COCO's format."""
    pictures, images, boxes = list[np.ndarray](), list[dict](), list[dict]()
    for start in range(0, len(content['images']), columns ** 2):
        part = content['images'][start:start + columns ** 2]
        picture: np.ndarray = np.full((-(-len(part) // columns) * CELL, columns * CELL, 3), GREY, np.uint8)
        for index, image in enumerate(part):
            factor = min(1, CELL / max(image['width'], image['height']))
            pixels = cv2.resize(decode((folder / image['file_name']).read_bytes())[0], None, fx=factor, fy=factor)
            left, top = index % columns * CELL, index // columns * CELL
            picture[top:top + pixels.shape[0], left:left + pixels.shape[1]] = pixels
            for box in (box for box in content['annotations'] if box['image_id'] == image['id']):
                x, y, width, height = (factor * side for side in box['bbox'])
                boxes.append(dict(id=len(boxes) + 1, image_id=len(pictures) + 1, category_id=box['category_id'],
                                  bbox=[left + x, top + y, width, height], area=width * height,
                                  iscrowd=box['iscrowd']))
        pictures.append(picture)
        images.append(dict(id=len(pictures), file_name='', width=picture.shape[1], height=picture.shape[0]))
    return pictures, dict(images=images, annotations=boxes, categories=content['categories'])


def detected(detector: Detector, pictures: list[np.ndarray], side: int, overlap: int,
             floor: float) -> tuple[list[tuple[list[Detections], list[Tile], Size]], float]:
    """Return detections in all tiles of each picture, the tiles and its size; and the seconds of all."""
    results, begin = [], time.monotonic()
    for picture in progress(pictures, f'tiles that share {overlap} pixels'):
        tiles = tiles_of(picture.shape[1], picture.shape[0], side, overlap)
        parts = [detector.engine.prepare(np.ascontiguousarray(picture[top:bottom, left:right]))
                 for left, top, right, bottom in tiles]
        found = [moved(detector.run([part])[0], tile[:2]).above(floor) for part, tile in zip(parts, tiles)]
        results.append((found, tiles, picture.shape[:2]))
    return results, time.monotonic() - begin


def ways() -> dict[str, Join]:
    """Return the ways to join boxes, by name."""
    known: dict[str, Join] = dict(ghostdet=joined)
    if find_spec('supervision'):
        known |= {f'supervision {kind} {metric}': supervision_join(kind, metric)
                  for kind, metric in (('NMS', 'IOU'), ('NMS', 'IOS'), ('NMM', 'IOS'))}
    if find_spec('sahi'):
        known['sahi GREEDYNMM IOS'] = sahi_join
    return known


def supervision_join(kind: str, metric: str) -> Join:
    """Return a join by `with_nms` or `with_nmm`, which supervision's InferenceSlicer uses."""
    import supervision

    def join(found: list[Detections], tiles: list[Tile], size: Size) -> Detections:
        boxes = supervision.Detections(np.concatenate([one.boxes for one in found]),
                                       confidence=np.concatenate([one.scores for one in found]),
                                       class_id=np.concatenate([one.labels for one in found]))
        one = getattr(boxes, f'with_{kind.lower()}')(
            MATCH, overlap_metric=getattr(supervision.OverlapMetric, metric))
        order = np.argsort(-one.confidence)
        return Detections(one.xyxy[order].astype(np.float32), one.confidence[order], one.class_id[order],
                          found[0].classes, size)
    return join


def sahi_join(found: list[Detections], tiles: list[Tile], size: Size) -> Detections:
    """Join by sahi's default, GREEDYNMM."""
    from sahi.postprocess.combine import GreedyNMMPostprocess
    from sahi.prediction import ObjectPrediction
    classes = found[0].classes
    boxes = [ObjectPrediction(bbox=box.tolist(), category_id=int(label), score=float(score),
                              category_name=classes[label], full_shape=list(size))
             for one in found for box, score, label in zip(one.boxes, one.scores, one.labels)]
    kept = sorted(GreedyNMMPostprocess(match_threshold=MATCH, match_metric='IOS', class_agnostic=False)(boxes),
                  key=lambda one: -one.score.value)
    return Detections(np.array([one.bbox.to_xyxy() for one in kept], np.float32).reshape(-1, 4),
                      np.array([one.score.value for one in kept], np.float32),
                      np.array([one.category.id for one in kept], np.int64), classes, size)


def evaluated(truth: dict, records: list[dict]) -> CocoTable:
    """Return COCO's table of records."""
    with TemporaryDirectory() as folder:
        files = Path(folder, 'truth.json'), Path(folder, 'found.json')
        for file, content in zip(files, (truth, records)):
            file.write_text(json.dumps(content))
        return evaluate(*files, max_objects=LIMIT)


if __name__ == '__main__':
    sys.exit(door.run(main))
