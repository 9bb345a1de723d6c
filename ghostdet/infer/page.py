"""The page of `ghostdet demo`: an image in, boxes out, all in memory. Streamlit runs it again at each change."""
import io
import json
import sys
import time
from dataclasses import replace

import numpy as np
import streamlit as st
from starlette.formparsers import MultiPartParser

from ghostdet.errors import ImageError, reason
from ghostdet.images.decode import open_image
from ghostdet.images.drawing import draw
from ghostdet.images.listing import suffixes
from ghostdet.images.opencv import cv2
from ghostdet.images.resize import fitted
from ghostdet.infer.cores import usable_cores
from ghostdet.infer.detections import Detections
from ghostdet.infer.detector import Detector
from ghostdet.infer.server import PageOptions

MAX_PIXELS = 100_000_000  # because a small file can hold an image that fills the memory
MAX_SIDE = 1600  # of the image on the page, in pixels
COLUMNS = ('class', 'score', 'left', 'top', 'right', 'bottom')
MIB = 2 ** 20


def show(options: PageOptions) -> None:
    """Build the page."""
    # Starlette parses the uploads. By default it writes those above 1 MB to a temporary file.
    MultiPartParser.spool_max_size = (options.max_mb + 2) * MIB
    st.set_page_config(page_title='ghostdet', layout='wide')
    detector = _detector(options.model, options.precision, options.config, options.ignore_orientation,
                         options.self_check)
    st.title('ghostdet')
    name = detector.model.rpartition('/')[2]
    st.caption(f'{name}: {len(detector.classes)} classes. An image can have up to {options.max_mb} MB. It stays '
               'in memory: nothing is written to disk.')
    file = st.file_uploader('Choose an image', [suffix[1:] for suffix in suffixes()], max_upload_size=options.max_mb)
    if file is None:
        return
    try:
        image, detections, seconds = _detect(detector, file.file_id, file.getvalue())
    except ImageError as error:
        st.error(f'{file.name} cannot be used: {error}')
        return
    about = 'At first the one with the best F1 when the detector was evaluated' if detector.knows_threshold else None
    _results(image, detections, seconds, round(detector.threshold, 2), about)


@st.cache_resource(show_spinner='Loading the model ...')
def _detector(model: str, precision: str, config: str | None, ignore_orientation: bool, self_check: bool) -> Detector:
    return Detector(model, precision, config=config, ignore_orientation=ignore_orientation, self_check=self_check,
                    requests=usable_cores())  # several visitors at the same time


def _detect(detector: Detector, file_id: str, content: bytes) -> tuple[np.ndarray, Detections, float]:
    """Return the image to show, its detections, and the seconds they took. Runs the detector only once for each image.

    Raises:
        ImageError: the file is not an image, or the image is too large.
    """
    if st.session_state.get('file') != file_id:
        _check_size(content)
        start = time.perf_counter()
        detections = detector.run([detector.prepare(content)])[0]
        seconds = time.perf_counter() - start
        size = fitted(*detections.size[::-1], (MAX_SIDE, MAX_SIDE), enlarge=False)
        image = cv2.resize(detector.pixels(content), size, interpolation=cv2.INTER_AREA)
        st.session_state.update(file=file_id, result=(image, detections, seconds))
    return st.session_state['result']


def _check_size(content: bytes) -> None:
    try:
        if not content:
            raise ValueError('the file is empty')
        with open_image(io.BytesIO(content)) as image:
            pixels = image.width * image.height
    except ValueError as error:
        raise ImageError(str(error)) from error
    except Exception as error:  # Pillow raises many types of errors for bad files
        raise ImageError(reason(error)) from error
    if pixels > MAX_PIXELS:
        raise ImageError(f'it has {pixels / 1e6:.0f} megapixels; this page accepts up to {MAX_PIXELS / 1e6:.0f}')


@st.fragment  # the only part that runs again when the slider moves
def _results(image: np.ndarray, detections: Detections, seconds: float, threshold: float,
             about: str | None) -> None:
    chosen = detections.above(st.slider('Confidence threshold', 0.0, 1.0, threshold, 0.01, help=about))
    left, right = st.columns([3, 1])
    shown = replace(chosen, boxes=chosen.boxes * (image.shape[1] / detections.size[1]))
    left.image(draw(image, shown.drawable), width='stretch', output_format='JPEG')
    right.metric('boxes', len(chosen))
    right.metric('time from file to boxes', f'{1000 * seconds:.0f} ms')
    rows = [(name, round(score, 3), *(round(side) for side in box)) for name, score, box in chosen]
    if rows:
        right.dataframe([dict(zip(COLUMNS, row)) for row in rows], hide_index=True)


if __name__ == '__main__':
    show(PageOptions(**json.loads(sys.argv[1])))
