"""What the package needs, and its configs. pyproject.toml has everything else, constraints.txt what `make` installs."""
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Lower bounds: the oldest that was run with these extras; docs/how-to/install.md says what passed.

# OpenCV without windows needs no libraries of a desktop.
IMAGES = ['fonttools>=4.60,<5', 'numpy>=2.2,<3', 'opencv-python-headless>=4.12,<6', 'pillow>=12.3,<14', 'tqdm>=4.70,<5']
TRAIN = [
    'torch>=2.11,<2.15', 'torchvision>=0.26,<0.30', 'onedl-mmengine>=0.10.12,<0.11', 'onedl-mmcv>=2.3.6,<2.4',
    'onedl-mmdetection>=3.5.1,<3.6', 'onedl-mmpretrain>=1.3.6,<1.4', *IMAGES, 'matplotlib>=3.10.9,<4',
    'pycocotools>=2.0.11,<2.1', 'pyyaml>=6,<7', 'rich>=15,<16', 'safetensors>=0.8,<1', 'tensorboard>=2.21,<3',
]
RUNTIME = [*IMAGES, 'onnxruntime>=1.23.2,<2', 'openvino>=2026.4,<2027']  # runs exported files: no torch, no mmcv
NCNN = ['ncnn>=1.0.20261020,<1.1']
# torch 2.11 cannot write detectors of any input size as ONNX.
EXPORT = ['torch>=2.13,<2.15', *NCNN, 'pnnx>=20261020', 'nncf>=3.4,<4', 'onnx>=1.23,<2', 'onnxruntime>=1.23.2,<2',
          'onnxscript>=0.7,<0.8', 'openvino>=2026.4,<2027']
PAGE = ['streamlit>=1.65,<2']
DOCS = ['mkdocs-material>=9.7,<10', 'mkdocstrings-python>=2,<3']
FAST_EVAL = ['faster-coco-eval>=1.8,<2']


class BuildWithConfigs(build_py):
    """Puts the configs and their index into ghostdet/.mim of a wheel, where OpenMMLab's tools look for them."""

    def configs(self) -> dict[str, str]:
        """Return each config's file, by the place where it goes."""
        files = [Path('model-index.yml'), *Path('configs').glob('*.yml'), *Path('configs').rglob('*.py')]
        target = Path(self.build_lib, 'ghostdet/.mim')
        return {str(target / file): str(file) for file in sorted(files)}

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable installation has them in the clone
            for target, file in self.configs().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(file, target)

    def get_source_files(self) -> list[str]:  # for the sdist
        return [*super().get_source_files(), *self.configs().values()]

    def get_output_mapping(self) -> dict[str, str]:  # for a strict editable installation, which makes links
        return {**super().get_output_mapping(), **self.configs()}


setup(
    cmdclass={'build_py': BuildWithConfigs},
    install_requires=['numpy', 'pillow', 'tqdm'],  # no bounds: what is there stays
    extras_require={
        'train': TRAIN,
        'fast-eval': FAST_EVAL,
        'runtime': RUNTIME,
        'ncnn': [*IMAGES, *NCNN],  # runs files for ncnn
        'export': EXPORT,
        'demo': [*RUNTIME, *PAGE],
        'docs': DOCS,
        'test': [*FAST_EVAL, *EXPORT, *PAGE, *DOCS, 'build', 'hypothesis', 'ipykernel', 'mypy', 'nbclient',
                 'playwright', 'pytest', 'pytest-timeout', 'pytest-xdist', 'ruff', 'timm'],
    },
)
