"""Packaging: what is needed. Which versions `make` installs stands in constraints.txt."""
from pathlib import Path

from setuptools import find_packages, setup

TRAIN = [
    # onedl-mmcv 2.3.6 does not compile against torch 2.14.
    'torch>=2.6,<2.14', 'torchvision', 'onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'onedl-mmdetection>=3.5.1',
    'onedl-mmpretrain>=1.3.6', 'pycocotools', 'matplotlib', 'rich', 'safetensors', 'tensorboard', 'tqdm',
]
# What runs exported files: no torch, no mmcv.
RUNTIME = ['onnxruntime>=1.20', 'opencv-python-headless>=4.8', 'openvino>=2025.0', 'tqdm']
EXPORT = ['onnx>=1.17', 'onnxscript>=0.5', 'onnxruntime>=1.20', 'openvino>=2025.0', 'nncf>=2.15']
PAGE = ['streamlit>=1.60']
FAST_EVAL = ['faster-coco-eval>=1.8']

setup(
    name='ghostdet',
    version='0.1.0',
    description='GhostNet as an MMDetection backbone, with configs, tools and evidence',
    long_description=Path('README.md').read_text() if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['ghostdet', 'ghostdet.*']),
    install_requires=['numpy', 'pillow'],
    extras_require={
        'train': TRAIN,
        'fast-eval': FAST_EVAL,
        'runtime': RUNTIME,
        'export': EXPORT,
        'demo': [*RUNTIME, *PAGE],
        'test': [*FAST_EVAL, *EXPORT, *PAGE, 'hypothesis', 'mypy', 'playwright', 'pytest', 'pytest-xdist', 'ruff', 'timm'],
    },
)
