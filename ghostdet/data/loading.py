"""Reading images in a pipeline."""
import io

from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine import fileio
from PIL import Image

from ghostdet.errors import DataError, reason

# How a whole JPEG and a whole PNG end.
ENDINGS = (b'\xff\xd9', b'IEND\xaeB`\x82')


@TRANSFORMS.register_module()
class LoadWholeImage(LoadImageFromFile):
    """mmcv's `LoadImageFromFile`, which stops at an image that cannot be decoded to its end.

    OpenCV returns a picture with a grey rest for a file that was cut off, and a run would learn from it.

    Raises:
        DataError: the file is missing, cannot be decoded or is cut off; the message names it.
    """

    def transform(self, results: dict) -> dict | None:
        """Add `img` of shape (H, W, 3), `img_shape` and `ori_shape` to `results`."""
        file = results['img_path']
        try:
            content = fileio.get(file, backend_args=self.backend_args)
            if not content.endswith(ENDINGS):  # other formats, trailing bytes or a cut: Pillow's decoder tells them apart
                with Image.open(io.BytesIO(content)) as image:
                    image.load()
            return super().transform(results)
        except Exception as error:  # decoders raise many kinds for a damaged file; each means the same here
            raise DataError(f'the image {file} cannot be read to its end ({reason(error)}). Copy or download '
                            'it again, or remove its record from the annotation file.') from error
