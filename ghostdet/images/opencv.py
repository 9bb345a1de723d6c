"""Imports OpenCV, and explains how to fix the most common import error."""
from ghostdet.errors import PackageError

try:
    import cv2
except ImportError as error:
    # No module cv2: OpenCV is not installed, or uninstalling opencv-python removed files of the headless package too.
    if 'shared object file' not in str(error) and error.name != 'cv2':
        raise
    raise PackageError(
        f'OpenCV does not load: {error}. Either it is not installed, or opencv-python is, which needs desktop '
        'libraries. Install only the headless build: pip uninstall -y opencv-python opencv-python-headless && pip '
        'install opencv-python-headless'
    ) from error

__all__ = ['cv2']
