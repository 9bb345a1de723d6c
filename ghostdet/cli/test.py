"""Evaluate a checkpoint or an exported file. Write COCO's table, the detections and an image to the work directory.

ghostdet test work_dirs/retinanet_ghostnet_1.1x_mini/epoch_12.pth
ghostdet test detector.xml --data-root DIR
"""
from ghostdet.cli.arguments import parse_options
from ghostdet.options import EvaluationOptions


def main(arguments: list[str] | None = None) -> None:
    """Evaluate, print the table and, with --check-expected, check the AP."""
    options = parse_options(EvaluationOptions, __doc__, arguments)
    from ghostdet.deploy.evaluate import evaluate  # --help needs no torch
    report = evaluate(options)
    if report is not None:
        print(report.to_text())
        report.check()
