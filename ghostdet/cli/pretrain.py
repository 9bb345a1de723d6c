"""Train the ImageNet classifier whose weights a detector starts from. Any folder with ImageNet's layout works.

ghostdet pretrain ghostnet_1.1x_imagenet --data-root /data/imagenet
"""
from ghostdet.cli.arguments import parse_options
from ghostdet.options import PretrainOptions


def main(arguments: list[str] | None = None) -> None:
    """Train, and print the accuracy."""
    options = parse_options(PretrainOptions, __doc__, arguments)
    from ghostdet.training.classifier import pretrain  # --help needs no torch
    for name, value in pretrain(options).items():
        print(f'{name}: {value:.2f}')
