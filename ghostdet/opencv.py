"""OpenCV, imported in one place, so that the best-known failure of its import comes with the cure."""
try:
    import cv2
except ImportError as error:
    # No module cv2: OpenCV is not installed, or uninstalling opencv-python removed the files that both packages share.
    if 'shared object file' not in str(error) and error.name != 'cv2':
        raise
    raise ImportError(
        f'OpenCV does not load: {error}. Either it is not installed, or opencv-python is, which needs desktop libraries. Install '
        'only the headless build: pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless'
    ) from error

__all__ = ['cv2']
