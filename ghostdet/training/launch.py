"""Trains and evaluates by a plan, and writes the report."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.dist import get_rank

from ghostdet import ops
from ghostdet.errors import DataError
from ghostdet.evaluation.coco_table import CocoTable
from ghostdet.messages import LOGGER
from ghostdet.options import DEFAULT_THRESHOLD, EvaluationOptions, TrainOptions
from ghostdet.training.checkpoint_config import config_of
from ghostdet.training.checkpoints import checkpoint_of, kept_thresholds, learned_classes
from ghostdet.training.datasets import EVALUATORS
from ghostdet.training.hooks import OverviewHook
from ghostdet.training.plan import RunPlan, plan_evaluation, plan_training, setting_up
from ghostdet.training.report import Report, clear_detections, write_report, write_unscored
from ghostdet.training.runner import DetectionRunner
from ghostdet.weights.fitting import read_checkpoint
from ghostdet.weights.schemes import safe_loading


def train(options: TrainOptions) -> Report | None:
    """Train a detector.

    Returns:
        The report of the last evaluation; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong. It is raised before the run starts if possible.
        Interrupted: the user stopped the run. The run is saved, if its config saves checkpoints.
    """
    with _denormals_flushed():
        plan = plan_training(options)
        with safe_loading(options.trust_checkpoint):
            runner = _runner(plan)
            if plan.resume_from:
                runner.continue_from(plan.resume_from)
            runner.register_hook(OverviewHook(plan.checked, Path(plan.cfg.work_dir) / 'data'))
            runner.train()
    return _logged(report_of(plan, 'val', runner.table, curves=True), runner)


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Within this context, the processor takes denormal numbers for zero.

    A trained detector has channels whose gradients are such numbers, and a CPU takes many times as long for these.
    Threads inherit it when they start, so it begins before anything is computed.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def evaluate(options: EvaluationOptions) -> Report | None:
    """Evaluate a checkpoint.

    Returns:
        The report; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong.
    """
    with safe_loading(options.trust_checkpoint):
        options = replace(options, checkpoint=checkpoint_of(options.checkpoint))
        plan = plan_checkpoint(options)
        runner = _runner(plan)
        runner.optimized = options.optimize
        runner.test()
    return _logged(report_of(plan, 'test', runner.table), runner)


def plan_checkpoint(options: EvaluationOptions) -> RunPlan:
    """Decide how to evaluate a checkpoint, by its own config or the one in `options`.

    Raises:
        UserError: something is missing or wrong.
    """
    content = read_checkpoint(options.checkpoint)
    cfg = config_of(options.checkpoint, content, options.config, options.cfg_options)
    meta = content.get('meta') or {}
    learned = learned_classes(meta)
    kept = (kept_thresholds(content, learned or ()) if options.scale is None else None) or {}
    try:
        return plan_evaluation(cfg, options, learned, kept.get('all', DEFAULT_THRESHOLD))
    except DataError as error:
        if not options.config or options.data_root or any(options.named.values()) or 'cfg' not in meta:
            raise
        raise DataError(f'{error}. Or leave out the config: the checkpoint carries its own, with the data of its '
                        'run') from error


def _runner(plan: RunPlan) -> DetectionRunner:
    """Build the runner. Unless the run is resumed, delete the detections of an earlier run, which the report could take
    for new.

    Raises:
        UserError: the runner cannot be built.
    """
    LOGGER.info(f'nms and other operators: {ops.origin()}')
    if not plan.resume_from:
        clear_detections(Path(plan.cfg.work_dir))
    with setting_up():
        return DetectionRunner.from_cfg(plan.cfg)


def _logged(report: Report | None, runner: DetectionRunner) -> Report | None:
    """Return a report, which also goes to the log file."""
    if report is not None:
        runner.logger.info(report.to_text())
    return report


def report_of(plan: RunPlan, name: str, table: CocoTable | None = None, curves: bool = False) -> Report | None:
    """Write the report of the detections that the loader `name`, 'val' or 'test', led to.

    Args:
        table: their evaluation; None: evaluate them.
        curves: also draw loss and AP curves of the run.

    Returns:
        The report; None in all processes but the first.
    """
    if get_rank():
        return None
    cfg = plan.cfg
    if cfg[EVALUATORS[name]].get('format_only'):
        return write_unscored(cfg, name)
    return replace(write_report(cfg, name, table, curves), expected=plan.expected)
