"""`python -m benchmarks.paper_tables` through its command line, and its networks."""
import json

import pytest
import torch

from benchmarks.paper_tables import resnet56, vgg16
from ghostdet.cli import door
from ghostdet.models.ghostify import ghostify
from tests.conftest import study


def test_the_papers_other_tables(tmp_path, capsys):
    assert door.run(study('paper_tables'), ['--out', str(tmp_path)]) == 0
    text = capsys.readouterr().out
    rows = {(row['network'], row['ratio'], row['dw_size']): row
            for row in json.loads((tmp_path / 'paper_tables.json').read_text())}
    assert len(rows) == 8 + 8 + 3 + 3
    assert '| GhostNet 1.3x | 2 | 3 | 7.3 |' in (tmp_path / 'paper_tables.md').read_text()

    def off(network, ratio, dw_size, figure='macs'):
        row = rows[network, ratio, dw_size]
        return row[f'counted_{figure}'] / row[f'paper_{figure}'] - 1
    settings = [(None, None), (2, 3), (3, 3), (4, 3), (5, 3), (2, 1), (2, 5), (2, 7)]
    for ratio, dw_size in settings:
        assert abs(off('VGG-16', ratio, dw_size, 'parameters')) < 0.01
        # The paper cuts decimals off: 65.67 M became 65 M, which is more than a hundredth.
        assert abs(off('VGG-16', ratio, dw_size)) < (0.0103 if ratio == 5 else 0.01)
        assert rows['VGG-16', ratio, dw_size]['paper_macs'] == rows['VGG-16', ratio,
                                                                    dw_size]['counted_macs'] // 10 ** 6 * 10 ** 6
    for ratio, dw_size in settings[:2]:
        assert max(abs(off('ResNet-56', ratio, dw_size, figure)) for figure in ('parameters', 'macs')) < 0.04
    for ratio, dw_size in (settings[0], settings[1], settings[3]):
        assert abs(off('ResNet-50', ratio, dw_size)) < 0.03
    for width in ('0.5', '1.0', '1.3'):
        assert max(abs(off(f'GhostNet {width}x', 2, 3, figure)) for figure in ('parameters', 'macs')) < 0.01
    # What explains the larger differences.
    assert '12.93 M parameters come out' in text
    assert '6.62 M parameters come out' in text
    d1 = rows['ResNet-56', 2, 1]
    assert d1['paper_macs'] is None
    assert (round(d1['counted_parameters'] / 1e6, 2), round(d1['counted_macs'] / 1e6)) == (0.43, 63)


@pytest.mark.parametrize(('build', 'shape'), [(vgg16, (2, 10)), (resnet56, (2, 10))])
def test_networks_of_the_tables_run(build, shape):
    network = build()
    assert network(torch.rand(2, 3, 32, 32)).shape == shape
    assert ghostify(network, 3, 5).replaced
    assert network(torch.rand(2, 3, 32, 32)).shape == shape
