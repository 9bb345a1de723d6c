"""One picture in all forms that people have, and files that are no pictures."""
import io

import cv2
import numpy as np
from PIL import Image

ORIENTATION = 0x112  # EXIF's tag; 6 is a camera held upright
PNG_HEADER = b'\x89PNG\r\n\x1a\n'


def saved(image, kind, **options):
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def same_picture(picture):
    """Files that show what `picture` (H, W, 3), red first, shows."""
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    deep = cv2.imencode('.png', picture[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
    return {'plain.png': saved(image, 'PNG'), 'alpha.png': saved(image.convert('RGBA'), 'PNG'), 'deep.png': deep,
            'turned.png': saved(image.rotate(90, expand=True), 'PNG', exif=exif), 'plain.bmp': saved(image, 'BMP'),
            'plain.tif': saved(image, 'TIFF'), 'plain.webp': saved(image, 'WEBP', lossless=True),
            'turned.jpg': saved(image.rotate(90, expand=True), 'JPEG', exif=exif, quality=100, subsampling=0),
            'cmyk.jpg': saved(image.convert('CMYK'), 'JPEG', quality=100, subsampling=0)}


def grey_picture(picture):
    """Files that show the grey of `picture`."""
    grey = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    return {'grey.png': saved(grey, 'PNG'), 'grey_alpha.png': saved(grey.convert('LA'), 'PNG'),
            'three_greys.png': saved(grey.convert('RGB'), 'PNG'), 'deep_grey.png': saved(Image.fromarray(
                np.asarray(grey).astype(np.uint16) * 257), 'PNG')}


def no_pictures(picture):
    """Files that cannot be read, and what is told of each."""
    png, jpeg = saved(Image.fromarray(picture), 'PNG'), saved(Image.fromarray(picture), 'JPEG')
    return {'empty.jpg': (b'', 'the file is empty'), 'text.jpg': (b'hello', 'it is not an image'),
            'cut.jpg': (jpeg[:len(jpeg) // 2], 'truncated'), 'cut.png': (png[:len(png) // 2], 'truncated'),
            'header.png': (PNG_HEADER, 'it is not an image'),
            'damaged.png': (png[:60] + bytes(40) + png[100:], 'cannot decode')}
