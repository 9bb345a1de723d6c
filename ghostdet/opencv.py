"""OpenCV, imported in one place, so that the best-known failure of its import comes with the cure."""
try:
    import cv2
except ImportError as error:
    broken = error.name == 'cv2'  # its files are gone: its twin, which had written over them, was uninstalled
    if 'shared object file' not in str(error) and not broken:
        raise
    raise ImportError(
        f'OpenCV does not load: {error}. opencv-python needs libraries of a desktop, and shares its files with '
        'opencv-python-headless, which does not. Install the headless one alone: pip uninstall -y opencv-python '
        'opencv-python-headless && pip install opencv-python-headless') from error

__all__ = ['cv2']
