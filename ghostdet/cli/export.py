"""Export a trained detector to a file that runs without PyTorch, and compare the file with the checkpoint.

ghostdet export epoch_12.pth --out detector.xml    # or .onnx, .ncnn.param
"""
from ghostdet.cli.arguments import parse_options
from ghostdet.options import ExportOptions


def main(arguments: list[str] | None = None) -> None:
    """Export, and print how well the file agrees with the checkpoint."""
    options = parse_options(ExportOptions, __doc__, arguments)
    from ghostdet.deploy.exporter import export  # --help needs no torch
    print(export(options).to_text())
