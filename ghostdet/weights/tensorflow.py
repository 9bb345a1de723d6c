"""What the authors' TensorFlow network does otherwise than the one in PyTorch, and how it is kept:

- Kernels are (H, W, in, out), depthwise ones (H, W, channels, 1): their axes are moved here.
- Images are BGR, normalised with ImageNet's mean and deviation: the stem's input channels are reversed here, so that it
  takes RGB.
- The attention has C // 4 units and the gate clip(x, 0, 1): `layouts.py` converts both exactly, and has the names.
- Strided convolutions pad as SAME does: the backbone needs `padding='tensorflow'`.
- Batch norm has epsilon 1e-5, as in PyTorch. The 0.001 in its settings is for layers of another library, and it has
  none of them.

Sources: huawei-noah/Efficient-AI-Backbones `tensorflow/ghostnet.py`, `myconv2d.py`, `imagenet_utils.py`; tensorpack
0.9.7 `batch_norm.py`; the names and shapes in the index of the authors' checkpoint.
"""
import re

from torch import Tensor

DEPTHWISE = re.compile(r'.*(/DW|_depthwise/W|_dw/W)')
LINEAR = re.compile(r'.*(_se/fc\d|Conv2d_18|Conv2d_1c_1x1)/W')


def to_torch_axes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with PyTorch's order of axes and colours, under the names in TensorFlow.

    Kernels of linear layers become (out, in). What is no kernel stays.
    """
    moved = {name: _moved(name, value) if value.dim() == 4 else value for name, value in state.items()}
    stem = 'MobileNetV2/Conv2d_0/W'
    return moved | {name: moved[name].flip(1) for name in [stem] if name in moved and moved[name].dim() == 4}


def _moved(name: str, kernel: Tensor) -> Tensor:
    if DEPTHWISE.fullmatch(name):
        return kernel.permute(2, 3, 0, 1)  # (H, W, C, 1) -> (C, 1, H, W)
    kernel = kernel.permute(3, 2, 0, 1)  # (H, W, in, out) -> (out, in, H, W)
    return kernel.flatten(1) if LINEAR.fullmatch(name) else kernel
