"""OpenCV that does not load."""
import subprocess
import sys

import pytest


@pytest.mark.parametrize(('error', 'cure'), [
    ('libGL.so.1: cannot open shared object file: No such file or directory', True), ('numpy of another kind', False),
    ("No module named 'cv2'", True)])
@pytest.mark.parametrize('program', ['import ghostdet.training', 'import ghostdet.images.decode'])
def test_a_missing_library_of_a_desktop_is_told_with_the_cure(tmp_path, error, cure, program):
    name = 'cv2' if 'No module' in error else None
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({error!r}, name={name!r})')
    result = subprocess.run([sys.executable, '-c', f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}'],
                            capture_output=True, text=True)
    message = result.stderr.splitlines()[-1]
    assert message.startswith('ghostdet.errors.PackageError' if cure else 'ImportError')
    assert error in message
    assert ('pip install opencv-python-headless' in message) is cure
