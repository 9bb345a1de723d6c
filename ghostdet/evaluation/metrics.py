"""The metric that evaluates detections during a run."""
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS

from ghostdet.errors import UserError
from ghostdet.evaluation.coco_table import LIMIT, CocoTable, evaluate
from ghostdet.evaluation.fast_coco import check_installed

STOCK, OWN = 'CocoMetric', 'CocoTableMetric'
# Settings of CocoMetric that `CocoTableMetric` follows; with others, a config keeps CocoMetric.
FOLLOWED = {'_scope_', 'type', 'ann_file', 'metric', 'format_only', 'outfile_prefix', 'collect_device', 'prefix',
            'backend_args', 'max_objects'}
KEYS = dict(AP='mAP', AP50='mAP_50', AP75='mAP_75', AP_small='mAP_s', AP_medium='mAP_m', AP_large='mAP_l')


@METRICS.register_module()
class CocoTableMetric(CocoMetric):
    """mmdet's CocoMetric for boxes, with the same numbers, which also keeps COCO's whole table for the report.

    Args:
        fast_eval: compute by faster-coco-eval: the same numbers in less time.
        max_objects: also compute average precision with so many detections of an image, if these are more than 100.
        options: of CocoMetric; `ann_file` must be set.

    Raises:
        UserError: `fast_eval`, but the package is missing.
    """

    def __init__(self, fast_eval: bool = False, max_objects: int = LIMIT, **options: Any) -> None:
        super().__init__(**options)
        self.ann_file, self.fast_eval, self.max_objects = Path(options['ann_file']), fast_eval, max_objects
        self.table: CocoTable | None = None  # of the last evaluation
        if fast_eval:
            check_installed()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute COCO's numbers from all results."""
        classes = self.dataset_meta['classes']
        self.cat_ids = self._coco_api.get_cat_ids(cat_names=classes)
        with TemporaryDirectory() as folder:
            files = self.results2json([result for _, result in results], self.outfile_prefix or f'{folder}/results')
            if self.format_only:
                return {}
            self.table = evaluate(self.ann_file, Path(files['bbox']), classes, self.fast_eval, self.max_objects)
        values = {key: self.table.metrics[name] for name, key in KEYS.items()}
        return {f'bbox_{key}': -1. if isnan(value) else round(value, 3) for key, value in values.items()}


def choose_metric(evaluator: Any, key: str, fast: bool) -> None:
    """Check the evaluator that a config has under `key`, and make it a CocoTableMetric if it only evaluates boxes.

    Raises:
        UserError: it is neither a CocoMetric nor a CocoTableMetric, or `fast` is not possible.
    """
    if not isinstance(evaluator, dict) or evaluator.get('type') not in (STOCK, OWN):
        raise UserError(f'the config\'s {key} must be a {STOCK} or {OWN}, got {evaluator}')
    fast = fast or evaluator.pop('fast_eval', False)
    follows = evaluator.keys() <= FOLLOWED and not evaluator.get('backend_args')
    evaluator['type'] = OWN if follows and evaluator.get('metric', 'bbox') in ('bbox', ['bbox']) else STOCK
    if evaluator['type'] == STOCK:
        evaluator.pop('max_objects', None)
    if fast and evaluator['type'] == STOCK:
        raise UserError(f'--fast-eval evaluates boxes with COCO\'s settings, but the config\'s {key} is {evaluator}')
    if fast:
        evaluator['fast_eval'] = True
        check_installed()
