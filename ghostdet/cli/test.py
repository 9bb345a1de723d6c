"""Evaluate a checkpoint or an exported file; write the COCO table, detections and a picture to the work directory.

ghostdet test retinanet_ghostnet_1.1x_mini work_dirs/retinanet_ghostnet_1.1x_mini/epoch_12.pth
"""
from pathlib import Path

from ghostdet.api import evaluate_file
from ghostdet.cli.arguments import run_parser
from ghostdet.infer.sessions import HINTS
from ghostdet.training.options import EvaluationOptions


def parse(arguments: list[str] | None) -> EvaluationOptions:
    """Parse the command line into the options of an evaluation."""
    parser = run_parser(__doc__)
    parser.add_argument('checkpoint',
                        help='checkpoint, file of "ghostdet export" (.onnx, .xml, .ncnn.param), or ghostdet://NAME')
    parser.add_argument('--show-dir', type=Path, help='write every image with its detections to this folder')
    parser.add_argument('--precision', choices=HINTS, default='fp32',
                        help='arithmetic for an .xml file; default fp32')
    parser.add_argument('--optimize', action='store_true',
                        help='evaluate a copy that is optimized for inference; same outputs')
    return EvaluationOptions(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> None:
    """Evaluate, print the table and, with --check-expected, check the AP."""
    report = evaluate_file(parse(arguments))
    if report is not None:
        print(report.to_text())
        report.check()
