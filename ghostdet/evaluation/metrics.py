"""The metric that evaluates detections during a run."""
from typing import Any

from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import METRICS

from ghostdet.errors import UserError
from ghostdet.evaluation.fast_coco import FastCOCOeval, check_installed

USUAL, FAST = 'CocoMetric', 'FastCocoMetric'


@METRICS.register_module()
class FastCocoMetric(coco_metric.CocoMetric):
    """mmdet's CocoMetric for boxes, with the same options, computed by faster-coco-eval.

    Raises:
        UserError: the package is missing, `metric` is not 'bbox', or `use_mp_eval` is set.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_installed()
        if self.metrics != ['bbox'] or self.use_mp_eval:
            raise UserError('--fast-eval (FastCocoMetric) needs metric=\'bbox\' without use_mp_eval, but the config '
                            f'has metric={self.metrics}, use_mp_eval={self.use_mp_eval}')

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute COCO's numbers from all results."""
        usual, coco_metric.COCOeval = coco_metric.COCOeval, FastCOCOeval  # mmdet has no option for the class
        try:
            return super().compute_metrics(results)
        finally:
            coco_metric.COCOeval = usual


def choose_metric(evaluator: Any, key: str, fast: bool) -> None:
    """Check the evaluator that a config has under `key`; if `fast`, make it a FastCocoMetric.

    Raises:
        UserError: it is neither a CocoMetric nor a FastCocoMetric, or a package that it needs is missing.
    """
    if not isinstance(evaluator, dict) or evaluator.get('type') not in (USUAL, FAST):
        raise UserError(f'the config\'s {key} must be a {USUAL} or {FAST}, got {evaluator}')
    if fast:
        evaluator['type'] = FAST
    if is_fast(evaluator):
        check_installed()


def is_fast(evaluator: dict) -> bool:
    """Return whether an evaluator of a config is a FastCocoMetric."""
    return evaluator['type'] == FAST
