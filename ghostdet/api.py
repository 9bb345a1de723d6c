"""Trains, evaluates and exports detectors from Python. The functions do the same as the commands."""
from ghostdet.deploy import evaluate as evaluation
from ghostdet.deploy import exporter
from ghostdet.options import EvaluationOptions, ExportOptions, TrainOptions, takes
from ghostdet.training import launch
from ghostdet.training.report import Report


@takes(TrainOptions)
def train(options: TrainOptions) -> Report:
    """Train and evaluate a detector. Writes checkpoints, tables, curves and images. Ctrl-C saves the run and stops it.

    Args:
        {options}

    Returns:
        The report of the last evaluation: `report.ap` is COCO's AP, from 0 to 1.

    Raises:
        UserError: something is missing or wrong; the message says what, where, and what to do.
        Interrupted: the user stopped the run; it is saved, and `resume=True` continues it.

    Examples:
        >>> import ghostdet
        >>> report = ghostdet.train('retinanet_ghostnet_1.1x_mini', work_dir='runs/first')  # doctest: +SKIP
    """
    return _whole(launch.train(options))


@takes(EvaluationOptions)
def evaluate(options: EvaluationOptions) -> Report:
    """Evaluate a checkpoint or an exported file.

    Args:
        {options}

    Returns:
        The report: `report.ap` is COCO's AP, from 0 to 1, `report.table` has all numbers, also for each class.

    Raises:
        UserError: something is missing or wrong; or the AP is below what the config expects.

    Examples:
        >>> import ghostdet
        >>> report = ghostdet.evaluate('runs/first/epoch_12.pth')  # doctest: +SKIP
    """
    report = _whole(evaluation.evaluate(options))
    report.check()
    return report


@takes(ExportOptions)
def export(options: ExportOptions) -> exporter.Exported:
    """Export a checkpoint to a file that runs without PyTorch, and compare it with the checkpoint.

    Args:
        {options}

    Returns:
        The file, and how close its detections are to the checkpoint's.

    Raises:
        UserError: something is missing or wrong, or the file's detections differ from the checkpoint's. No file is
            written then.

    Examples:
        >>> import ghostdet
        >>> ghostdet.export('runs/first/epoch_12.pth', 'a.xml')  # doctest: +SKIP
    """
    return exporter.export(options)


def _whole(report: Report | None) -> Report:
    assert report is not None  # None only in later processes of a distributed run, which only the commands start
    return report
