r"""Export a trained detector to a file that runs without PyTorch, and compare the file with the checkpoint.

ghostdet export retinanet_ghostnet_1.1x_mini work_dirs/retinanet_ghostnet_1.1x_mini/epoch_12.pth \
    --format openvino --out detector.xml
"""
from dataclasses import replace
from pathlib import Path

from ghostdet.cli.arguments import KeyValues
from ghostdet.cli.door import command_parser
from ghostdet.deploy import exporter
from ghostdet.infer.manifest import PRECISIONS
from ghostdet.training.options import ExportOptions


def parse(arguments: list[str] | None) -> ExportOptions:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('config', help='config file, or a name from "ghostdet configs"')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--format', choices=exporter.ENDINGS, required=True)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE',
                        help='file to write: .onnx; .xml (with a .bin next to it); '
                             'or .ncnn.param (with .bin and .json)')
    parser.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'),
                        help='fixed input size; images are resized to fit into it. Default: any size, resized as in '
                             'the config; ncnn: one size')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32',
                        help='int8 only for OpenVINO, fp16 only for ncnn; default fp32')
    parser.add_argument('--batch', type=int, default=1, metavar='N',
                        help='images that go through the file at once; test and predict fill it. Default 1')
    parser.add_argument('--images', type=Path, metavar='DIR',
                        help='typical images, to compare on and to calibrate int8; default: the training images')
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE',
                        help='config settings to replace, for example model.test_cfg.score_thr=0.2')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='also open a checkpoint file that holds more than data')
    options = ExportOptions(**vars(parser.parse_args(arguments)))
    return replace(options, shape=options.shape and (options.shape[0], options.shape[1]))


def main(arguments: list[str] | None = None) -> None:
    """Export, and print how well the file agrees with the checkpoint."""
    print(exporter.export(parse(arguments)).to_text())
