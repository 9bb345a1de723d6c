"""What the tools make of checkpoint files: hostile, damaged, foreign and unfit ones."""
import shutil
from itertools import product

import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.config import DictAction
from mmengine.runner import Runner

from ghostdet.training import checkpoints
from ghostdet.training.config_file import read_config
from ghostdet.weights.checkpoint_file import read_torch
from tests import hostile
from tests.conftest import MINI, SHORT, nightly, run_tool

FILES = dict(plain_pickle=(hostile.plain_pickle, 'a plain pickle'), torch_file=(hostile.torch_file, 'asks for exec'),
             getattr_chain=(hostile.getattr_chain, 'asks for getattr'),
             stored_config=(hostile.stored_config, "meta['config']"))


def ways(file):
    """Every way in which a tool gets a checkpoint."""
    return dict(resume=('train', ['--resume', file], ()), load_from_flag=('train', ['--load-from', file], ()),
                load_from_config=('train', [], [f'load_from={file}']),
                init_cfg=('train', [],
                          ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={file}']),
                test=('test', [file], ()))


BY_DAY = {('plain_pickle', 'resume'), ('torch_file', 'load_from_flag'), ('getattr_chain', 'load_from_config'),
          ('torch_file', 'init_cfg'), ('stored_config', 'test')}  # each kind and each way


@pytest.mark.parametrize(('kind', 'way'),
                         [case if case in BY_DAY else nightly(case)[0] for case in product(FILES, ways(None))])
def test_hostile_file_is_refused_by_every_tool_and_runs_when_trusted(kind, way, trained, shapes, tmp_path, capsys):
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    make, words = FILES[kind]
    make(file, marker, *[trained / 'epoch_2.pth'] * (kind == 'stored_config'))
    tool, arguments, options = ways(file)[way]
    arguments = [MINI, *arguments, '--work-dir', tmp_path / 'run', '--data-root', shapes]
    assert run_tool(tool, *arguments, options=options) == 1
    error = capsys.readouterr().err
    assert 'hostile.pth was not opened' in error
    assert words in error
    assert '--trust-checkpoint' in error
    assert not marker.exists()
    if kind == 'stored_config' and way != 'resume':
        return  # nobody executes it then
    run_tool(tool, *arguments, '--trust-checkpoint', options=options)
    assert marker.exists()
    output = capsys.readouterr()
    assert 'opened in the unsafe way' in output.out + output.err


def options_of(config, *more):
    """The config with the settings of a short run."""
    pairs = (item.split('=', 1) for item in (*SHORT, *more))
    return read_config(config, {key: DictAction._parse_iterable(value) for key, value in pairs})


def test_files_of_stock_mmengine_load(shapes, tmp_path, capsys):
    cfg = options_of(MINI, f'work_dir={tmp_path}/stock', 'train_cfg.max_epochs=1', 'experiment_name=stock')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = f'{shapes}/'
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = f'{shapes}/annotations/instances_val2017.json'
    Runner.from_cfg(cfg).train()
    file = tmp_path / 'stock/epoch_1.pth'
    assert torch.load(file, weights_only=False)['message_hub']['log_scalars']  # with HistoryBuffers in it
    assert run_tool('test', MINI, file, '--work-dir', tmp_path / 'test', '--data-root', shapes) == 0
    assert run_tool('train', MINI, '--resume', file, '--work-dir', tmp_path / 'run', '--data-root', shapes,
                    epochs=2) == 0
    assert f'continuing from {file}' in capsys.readouterr().err
    content = read_torch(tmp_path / 'run/epoch_2.pth')
    assert content['meta']['epoch'] == 2
    # two steps here, after two of the stock run
    assert len(content['message_hub']['log_scalars']['train/loss'].data[0]) == 4


def test_files_in_the_style_of_mmdet_2_load(trained, shapes, tmp_path):
    """Legacy format of torch, numpy scalars, the config as text under `config`, classes in capitals."""
    state = read_torch(trained / 'epoch_2.pth')['state_dict']
    meta = dict(env_info='sys.platform: linux',
                config="model = dict(\n    type='RetinaNet',\n    backbone=dict(depth=50))\n",
                seed=None, exp_name='retinanet.py', mmdet_version='2.25.0', epoch=12, iter=87960, hook_msgs={},
                CLASSES=('disc', 'square', 'triangle'), PALETTE=[(220, 20, 60)] * 3)
    file = tmp_path / 'public.pth'
    torch.save(dict(meta=meta, state_dict=state, optimizer=None), file, _use_new_zipfile_serialization=False)
    assert run_tool('test', MINI, file, '--work-dir', tmp_path / 'test', '--data-root', shapes) == 0
    assert (tmp_path / 'test/coco.json').read_text() == (trained / 'coco.json').read_text()
    assert run_tool('train', MINI, '--load-from', file, '--work-dir', tmp_path / 'run', '--data-root', shapes) == 0


def test_classes_of_old_files_are_matched_by_name_too(trained, shapes, tmp_path, capsys):
    content = read_torch(trained / 'epoch_2.pth')
    content['meta'] = dict(CLASSES=('triangle', 'square', 'disc'))
    torch.save(content, tmp_path / 'old.pth')
    assert run_tool('test', MINI, tmp_path / 'old.pth', '--work-dir', tmp_path / 'test', '--data-root', shapes) == 0
    assert 'disc = disc, square = square, triangle = triangle' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- the last checkpoint

@pytest.fixture
def halfway(trained, tmp_path):
    """A copy of a run's folder."""
    shutil.copytree(trained, tmp_path / 'run')
    return tmp_path / 'run'


@pytest.mark.parametrize('keep', [0.7, *nightly(0)])
def test_a_last_checkpoint_that_is_cut_short_gives_way_to_the_one_before(keep, halfway, shapes, capsys):
    last = halfway / 'epoch_2.pth'
    last.write_bytes(last.read_bytes()[:int(last.stat().st_size * keep)])
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=2) == 0
    error = capsys.readouterr().err
    assert 'epoch_2.pth is' in error
    assert f'continuing from {halfway}/epoch_1.pth' in error
    assert read_torch(last)['meta']['epoch'] == 2


def test_no_checkpoint_that_can_be_read(halfway, shapes, capsys):
    for file in halfway.glob('*.pth'):
        file.write_bytes(b'')
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes) == 1
    error = capsys.readouterr().err
    assert 'no checkpoint in' in error
    assert 'epoch_1.pth is empty' in error


@pytest.mark.parametrize('pointer', ['work_dirs/elsewhere/epoch_2.pth', *nightly(None, '')])
def test_the_folder_counts_not_the_path_in_last_checkpoint(pointer, halfway, shapes, capsys):
    (halfway / 'last_checkpoint').unlink()
    if pointer is not None:
        (halfway / 'last_checkpoint').write_text(pointer)
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=2) == 0
    assert f'continuing from {halfway}/epoch_2.pth' in capsys.readouterr().err


@pytest.mark.parametrize('best', ['{0}/precious.pth', *nightly('{0}', '..', '/', '.', 'coco.json', 5)])
def test_files_that_a_checkpoint_names_elsewhere_are_not_deleted(best, halfway, shapes, tmp_path):
    """Mmengine deletes the file, or folder, that the checkpoint calls its best."""
    precious = tmp_path / 'precious.pth'
    precious.write_text('mine')
    (halfway / 'epoch_').mkdir()
    content = torch.load(halfway / 'epoch_2.pth', weights_only=False)
    best = best.format(tmp_path) if isinstance(best, str) else best
    content['message_hub']['runtime_info'].update(best_ckpt=best, best_score=-1.0, keep_ckpt_ids=['/../../precious', 2])
    torch.save(content, halfway / 'epoch_2.pth')
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=3) == 0
    assert precious.read_text() == 'mine'
    assert (halfway / 'epoch_').is_dir()
    assert (halfway / 'best_coco_bbox_mAP_epoch_3.pth').exists()


def test_a_best_checkpoint_is_no_state_of_a_run(trained, shapes, tmp_path, capsys):
    best = next(trained.glob('best_*.pth'))
    assert run_tool('train', MINI, '--resume', best, '--work-dir', tmp_path, '--data-root', shapes) == 1
    error = capsys.readouterr().err
    assert 'has no optimizer' in error
    assert '--load-from' in error


@pytest.mark.parametrize('change', [
    dict(epoch=-1), dict(param_schedulers=[1]), dict(optimizer=dict(state={}, param_groups=[])), *nightly(
        dict(meta=[1]), dict(meta={}), dict(epoch='2'), dict(iter=None), dict(seed=-5), dict(batches='1'),
        dict(batches=5, batches_per_epoch=2), dict(batches=1, batches_per_epoch=2, random=dict(a=1)),
        dict(message_hub=dict(log_scalars=[])))])
def test_states_that_make_no_sense(change, halfway, shapes, capsys):
    content = torch.load(halfway / 'epoch_2.pth', weights_only=False)
    for key, value in change.items():
        (content if key in content else content['meta'])[key] = value
    torch.save(content, halfway / 'odd.pth')
    assert run_tool('train', MINI, '--resume', halfway / 'odd.pth', '--work-dir', halfway, '--data-root', shapes,
                    epochs=3) == 1
    assert 'odd.pth' in capsys.readouterr().err


@pytest.mark.parametrize('meta', [[1], dict(dataset_meta='abc'),
                                  *nightly(dict(dataset_meta=dict(classes=5)), dict(CLASSES=[5]))])
def test_odd_notes_in_a_file_do_not_break_a_test(meta, trained, shapes, tmp_path):
    torch.save(dict(state_dict=read_torch(trained / 'epoch_2.pth')['state_dict'], meta=meta), tmp_path / 'odd.pth')
    code = run_tool('test', MINI, tmp_path / 'odd.pth', '--work-dir', tmp_path / 'test', '--data-root', shapes)
    assert code == int(isinstance(meta, list))


def test_a_run_that_starts_anew_is_not_mixed_up_with_an_earlier_one(halfway, shapes, capsys):
    # as a kill before the first checkpoint leaves the folder
    (halfway / 'last_checkpoint').write_bytes(checkpoints.NOTHING_YET)
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes) == 0
    shown = capsys.readouterr().err
    assert 'the run starts from the beginning; epoch_1.pth, epoch_2.pth are from an earlier run' in shown


def test_the_seed_of_the_checkpoint_counts(halfway, shapes, capsys):
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=3,
                    options=['randomness.seed=7']) == 0
    assert 'using the seed of the checkpoint, 0, not that of the config, 7' in capsys.readouterr().err
    assert read_torch(halfway / 'epoch_3.pth')['meta']['seed'] == 0


# ----------------------------------------------------------------------------------------------------- runs gone wrong

@TRANSFORMS.register_module()
class SpoilingPack(PackDetInputs):
    """Makes the pixels of one image NaN from the second time on that it is loaded."""

    def __init__(self, spoiled):
        super().__init__()
        self.spoiled, self.times = spoiled, 0

    def transform(self, results):
        packed = super().transform(results)
        if packed['data_samples'].img_id == self.spoiled:
            self.times += 1
            packed['inputs'] = packed['inputs'] * (float('nan') if self.times > 1 else 1)
        return packed


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(shapes, tmp_path, capsys):
    options = ['train_dataloader.dataset.pipeline.4.type=SpoilingPack', 'train_dataloader.dataset.pipeline.4.spoiled=3']
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', shapes, epochs=3,
                    options=options) == 1
    error = capsys.readouterr().err
    assert 'the loss is not finite in epoch 2' in error
    assert f'3 ({shapes}/train2017/000003.png)' in error
    assert 'loss_cls nan' in error
    state = read_torch(tmp_path / 'run/epoch_1.pth')['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / 'run/epoch_2.pth').exists()


def test_parameters_that_are_not_finite_are_not_saved(shapes, tmp_path, capsys, monkeypatch):
    """The loss of the last step can be a number and its gradient none: no loss after it would tell."""
    def broken_step(self, closure=None):
        for group in self.param_groups:
            for parameter in group['params']:
                parameter.data.fill_(float('inf'))
    monkeypatch.setattr(torch.optim.AdamW, 'step', broken_step)
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes,
                    options=['train_dataloader.batch_size=8']) == 1
    assert 'some parameters are NaN or infinite, so epoch_1.pth was not written' in capsys.readouterr().err
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('name', ['epoch_3.pth', *nightly('last_checkpoint', 'best_coco_bbox_mAP_epoch_3.pth')])
def test_a_full_disk_stops_the_run_and_leaves_the_checkpoint_before(name, halfway, shapes, capsys, monkeypatch):
    """The device /dev/full answers every write as a full disk does."""
    real = checkpoints.write_whole
    if name.startswith('best'):
        content = torch.load(halfway / 'epoch_2.pth', weights_only=False)
        content['message_hub']['runtime_info'].update(best_score=-1.0)
        torch.save(content, halfway / 'epoch_2.pth')

    def write(path, content):
        if str(path).endswith(name):
            (path if hasattr(path, 'with_name')
             else type(halfway)(path)).with_name(name + '.part').symlink_to('/dev/full')
        real(path, content)
    monkeypatch.setattr(checkpoints, 'write_whole', write)
    before = {file.name: file.read_bytes() for file in halfway.glob('*.pth')}
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=3) == 1
    error = capsys.readouterr().err
    assert 'No space left on device' in error
    assert 'Check the free space and the permissions there, then continue with --resume' in error
    assert (halfway / 'epoch_2.pth').read_bytes() == before['epoch_2.pth']
    assert not list(halfway.glob('*.part'))
    monkeypatch.undo()
    assert run_tool('train', MINI, '--resume', '--work-dir', halfway, '--data-root', shapes, epochs=3) == 0
    assert read_torch(halfway / 'epoch_3.pth')['meta']['epoch'] == 3
