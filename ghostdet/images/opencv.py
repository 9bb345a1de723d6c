"""Imports OpenCV, and explains how to fix the most common import error."""
from ghostdet.errors import PackageError
from ghostdet.packages import installed

try:
    import cv2
except ImportError as error:
    there = installed('cv2')
    if there is None or ('shared object file' not in str(error) and error.name != 'cv2'):
        raise
    raise PackageError(
        f'OpenCV does not load: {error}. {" ".join(there)} is installed. The build for desktops needs their libraries, '
        'and uninstalling it removes files of the headless one. Install only the headless build: pip uninstall -y '
        'opencv-python opencv-python-headless && pip install opencv-python-headless'
    ) from error

__all__ = ['cv2']
