"""Find how many bits the images of a data set use, so that all of them are scaled alike."""
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ghostdet.data.checked import Checked
from ghostdet.images.decode import bits_used, check_bits, naming
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

USUAL = 0.99  # fraction of the images whose values must fit: some have a broken pixel


def depth_of(splits: Sequence[Checked], bits: int | None = None) -> int | None:
    """Return the depth of all images of more than 8 bits in the splits, and set it there. Logs it.

    Without such images nothing is read.

    Args:
        bits: the depth, if it is known; None: the images are decoded to find it.

    Returns:
        From 8 to 16; None: there are no images of more than 8 bits.

    Raises:
        UserError: `bits` is not from 8 to 16.
        DataError: an image cannot be decoded.
    """
    check_bits(bits)
    names = [{image['file_name'] for image in split.content['images']} for split in splits]
    files = sorted({split.split.images / name for split, own in zip(splits, names) for name in split.deep
                    if name in own})
    if bits is None and files:
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            used = list(progress(pool.map(_bits_used, files), 'bits of the images', len(files), unit='image'))
        deep = [(count, file) for count, file in zip(used, files) if count]
        if deep:
            most, file = sorted(deep)[math.ceil(USUAL * (len(deep) - 1))]
            bits = max(8, most)
            clipped = sum(count > bits for count, _ in deep)
            LOGGER.info(f'{len(deep)} images have more than 8 bits: they use {bits} bits (such as {file.name}), so '
                        f'values are divided by {2 ** (bits - 8)}; '
                        + (f'{clipped} images have larger values, which are clipped; ' if clipped else '')
                        + '--bits names another number')
    for split in splits:
        split.bits = bits
    return bits


def _bits_used(file: Path) -> int:
    with naming(file):
        return bits_used(file.read_bytes())
