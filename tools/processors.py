"""Run the tests that compare floats as other processors would compute, and print a table.

python tools/processors.py
python tools/processors.py avx2 two-threads --pytest -x

A setting limits the instructions that PyTorch, oneDNN (also in OpenVINO) or MKL may use. ONNX Runtime and ncnn read
none of these variables: the setting `haswell` runs a few tests in Debian's qemu-user-static, which takes minutes.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from ghostdet.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
# Where tests compare what two ways of computing give.
NUMERIC = [f'tests/{name}' for name in (
    'unit/models', 'unit/ops', 'unit/deploy', 'unit/weights', 'unit/evaluation', 'unit/infer', 'run/deploy',
    'run/models', 'run/ops', 'run/weights', 'run/evaluation', 'run/benchmarks', 'run/configs/test_pretrain.py',
    'run/training/test_distributed.py', 'run/infer/test_detector.py', 'run/cli/test_export.py',
    'run/tools/test_mmdet_clients.py')]
# A few of these, for files in ONNX Runtime, OpenVINO and ncnn.
EMULATED = [f'tests/run/deploy/{name}' for name in (
    'test_program.py::test_the_same_candidates_give_the_same_boxes[nanodet-plus-onnx]',
    'test_program.py::test_any_size[retinanet-openvino-shape3]',
    'test_program.py::test_any_size[retinanet-openvino-shape4]',
    'test_ncnn.py::test_files_find_what_the_checkpoint_finds[nanodet-plus]')]
EMULATOR = ('qemu-x86_64-static', '-cpu', 'Haswell')
ONE_THREAD = dict(OMP_NUM_THREADS='1')
SETTINGS = {
    'this-one': {},
    'aten-default': dict(ATEN_CPU_CAPABILITY='default'),
    'aten-avx2': dict(ATEN_CPU_CAPABILITY='avx2'),
    'onednn-avx2': dict(ONEDNN_MAX_CPU_ISA='AVX2'),
    'onednn-avx512': dict(ONEDNN_MAX_CPU_ISA='AVX512_CORE'),
    'avx2': dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', MKL_ENABLE_INSTRUCTIONS='AVX2'),
    'two-threads': dict(OMP_NUM_THREADS='2'),
    'haswell': {},
}


def main() -> int:
    """Run the tests under each setting. Return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('settings', nargs='*', default=list(SETTINGS), metavar='SETTING',
                        help=f'one of {", ".join(SETTINGS)}')
    parser.add_argument('--pytest', nargs=argparse.REMAINDER, default=[], help='options for pytest, as the last words')
    options = parser.parse_args()
    unknown = set(options.settings) - set(SETTINGS)
    if unknown:
        parser.error(f'unknown: {", ".join(sorted(unknown))}; the settings are {", ".join(SETTINGS)}')
    lines, failed = [['setting', 'variables', 'passed', 'failed', 'skipped', 'seconds']], []
    for name in options.settings:
        started = time.monotonic()
        try:
            cases = run(name, options.pytest)
        except KeyboardInterrupt:
            print(f'\ninterrupted in {name}; what is finished is above', file=sys.stderr)
            return 130
        failed += [f'{name}: {test}' for test, outcome in cases if outcome == 'failed']
        counts = [str(sum(outcome == kind for _, outcome in cases)) for kind in ('passed', 'failed', 'skipped')]
        lines.append([name, variables(name), *counts, f'{time.monotonic() - started:.0f}'])
        print(markdown_table(lines), *failed, sep='\n', flush=True)
    return int(bool(failed))


def variables(name: str) -> str:
    """Return what a setting changes, as a shell would write it."""
    if name == 'haswell':
        return ' '.join(EMULATOR)
    return ' '.join(f'{key}={value}' for key, value in {**ONE_THREAD, **SETTINGS[name]}.items())


def run(name: str, more: list[str]) -> list[tuple[str, str]]:
    """Run the tests under a setting. Return each test's name and outcome: 'passed', 'failed' or 'skipped'.

    If pytest itself failed, the last entry says so.
    """
    python = [sys.executable, '-m', 'pytest']
    if name != 'haswell':
        command = [*python, '-n', 'auto', '--dist', 'loadfile', *NUMERIC]
    elif shutil.which(EMULATOR[0]):
        command = [*EMULATOR, *python, '-p', 'no:xdist', '-m', '', '--timeout', '3000', *EMULATED]
    else:
        return [(f'{EMULATOR[0]} is not installed', 'skipped')]
    limits = {key for setting in SETTINGS.values() for key in setting}  # those of the shell do not count
    environment = {key: value for key, value in os.environ.items() if key not in limits}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.xml'
        code = subprocess.run([*command, f'--junitxml={report}', *more], cwd=ROOT,
                              env={**environment, **ONE_THREAD, **SETTINGS[name]}).returncode
        cases = ElementTree.parse(report).iter('testcase') if report.exists() else []
        found = [(f'{case.get("classname")}::{case.get("name")}', outcome(case)) for case in cases]
    return found if code in (0, 1) and found else [*found, (f'pytest ended with {code}', 'failed')]


def outcome(case: ElementTree.Element) -> str:
    """Return the outcome of a test in pytest's report."""
    found = {child.tag for child in case}
    return 'failed' if found & {'failure', 'error'} else 'skipped' if 'skipped' in found else 'passed'


if __name__ == '__main__':
    sys.exit(main())
