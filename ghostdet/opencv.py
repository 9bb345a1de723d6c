"""OpenCV, imported in one place, so that the best-known failure of its import comes with the cure."""
try:
    import cv2
except ImportError as error:
    if 'shared object file' not in str(error):
        raise
    raise ImportError(
        f'OpenCV does not load: {error}. It is the build with windows, opencv-python, which needs libraries of a desktop. Take '
        'the one without: pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless') from error

__all__ = ['cv2']
