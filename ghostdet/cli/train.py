"""Train and evaluate a detector. Write checkpoints, tables, curves and images to the work directory.

ghostdet train retinanet_ghostnet_1.1x_mini
"""
from ghostdet.cli.arguments import parse_options
from ghostdet.options import TrainOptions


def main(arguments: list[str] | None = None) -> None:
    """Train, print the table and, with --check-expected, check the AP."""
    options = parse_options(TrainOptions, __doc__, arguments)
    from ghostdet.training.launch import train  # --help needs no torch
    report = train(options)
    if report is not None:
        print(report.to_text())
        report.check()
