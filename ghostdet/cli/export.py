r"""Write a trained detector as a file that finds boxes without PyTorch, and compare it with the checkpoint.

python tools/export.py configs/retinanet_ghostnet_1.1x_mini.py work_dirs/retinanet_ghostnet_1.1x_mini/epoch_12.pth \
    --format openvino --out detector.xml
"""
from dataclasses import replace
from pathlib import Path

from ghostdet.cli.arguments import KeyValues
from ghostdet.cli.door import command_parser
from ghostdet.engine import exporter
from ghostdet.engine.options import ExportOptions
from ghostdet.runtime.manifest import PRECISIONS


def parse(arguments: list[str] | None) -> ExportOptions:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--format', choices=exporter.ENDINGS, required=True)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='.onnx, or .xml, beside which a .bin is written')
    parser.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'),
                        help='the one size of input; images are made to fit in. Default: any, images resized as in the config')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32', help='int8 is for OpenVINO; default fp32')
    parser.add_argument('--images', type=Path, metavar='DIR',
                        help='images like those it will see, to compare on and to calibrate int8; default: the training images')
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE',
                        help='settings that replace those of the config, as model.test_cfg.score_thr=0.2')
    parser.add_argument('--trust-checkpoint', action='store_true', help='open a checkpoint file that holds more than data')
    options = ExportOptions(**vars(parser.parse_args(arguments)))
    return replace(options, shape=options.shape and (options.shape[0], options.shape[1]))


def main(arguments: list[str] | None = None) -> None:
    """Export, and say how close the file is."""
    print(exporter.export(parse(arguments)).to_text())
