"""Names of other packages that are not public and that we use, or methods of theirs that we override.

After an upgrade that takes one away, this test fails and says where to look. The versions in which they were seen are
in SEEN.
"""
import ast
import importlib
import inspect
import pkgutil
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import ghostdet

PACKAGE = Path(ghostdet.__file__).parent
SEEN = {'torch': '2.13.0', 'torchvision': '0.28.0', 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6',
        'onedl-mmdetection': '3.5.1', 'timm': '1.0.31', 'starlette': '1.10.0'}
# What has the name -> names: a class whose instances have it, or a module or object.
READ = {
    'mmengine.registry.registry:Registry': ['_locations', '_imported'],
    'mmengine.runner.runner:Runner': ['_load_from', '_resume', '_train_dataloader', '_has_loaded'],
    'mmengine.runner.loops:EpochBasedTrainLoop': ['_max_epochs', '_epoch', '_decide_current_val_interval'],
    'mmengine.runner.checkpoint:CheckpointLoader': ['_schemes'],
    'mmengine.runner.checkpoint': ['_get_mmengine_home', '_process_mmcls_checkpoint'],
    'mmengine.optim.scheduler.param_scheduler:_ParamScheduler': ['_last_value'],
    'mmengine.optim.optimizer.optimizer_wrapper:OptimWrapper': ['_accumulative_counts', '_inner_count'],
    'mmengine.model.base_module:BaseModule': ['_params_init_info', 'is_init'],
    'mmengine.model.base_model.data_preprocessor:ImgDataPreprocessor': ['_enable_normalize', '_channel_conversion'],
    'mmdet.evaluation.metrics.coco_metric:CocoMetric': ['_coco_api'],
    'torch.nn.modules.module:Module': ['_modules', '_forward_hooks', '_forward_pre_hooks', '_backward_hooks',
                                       '_backward_pre_hooks'],
    'torch.nn.modules.batchnorm': ['_BatchNorm', '_NormBase'],
    'torch.ops.mkldnn': ['_is_mkldnn_bf16_supported', '_convolution_pointwise', '_convolution_pointwise_'],
    'torch.ops.torchvision': ['_roi_align_backward', '_deform_conv2d_backward'],
    'timm.models.ghostnet': ['_create_ghostnet'],
    'starlette.formparsers:MultiPartParser': ['spool_max_size'],
}
# Names that only look private: of Python itself, or keys and results that are checked where they are used; or of torch
# before 2.3.
OWN_RISK = {'_exit', '_utils', '_metadata', '_codecs', '_saved_result'}
# Our class -> the class whose methods it overrides, and those that this class or its module calls by name.
OVERRIDDEN = {
    'ghostdet.training.checkpoints:WholeFiles': (
        'mmengine.fileio.backends.local_backend:LocalBackend', ['put', 'rmtree', 'remove']),
    'ghostdet.training.checkpoints:WholeCheckpointHook': (
        'mmengine.hooks.checkpoint_hook:CheckpointHook',
        ['before_train', 'after_val_epoch', 'after_train_iter', 'before_save_checkpoint', '_save_checkpoint',
         '_save_checkpoint_with_step', '_save_best_checkpoint']),
    'ghostdet.training.runner:DetectionRunner': (
        'mmengine.runner.runner:Runner',
        ['build_logger', 'scale_lr', '_init_model_weights', 'wrap_model',
         'load_or_resume', 'resume', 'load_checkpoint', 'train', 'test']),
    'ghostdet.training.loops:ResumableTrainLoop': ('mmengine.runner.loops:EpochBasedTrainLoop', ['run', 'run_epoch']),
    'ghostdet.models.heads.nanodet_plus:NanoDetPlusHead': (
        'mmdet.models.dense_heads.base_dense_head:BaseDenseHead', ['loss', 'loss_by_feat', 'predict_by_feat']),
    'ghostdet.models.heads.nanodet_plus:NanoDetPlus': (
        'mmdet.models.detectors.single_stage:SingleStageDetector', ['loss', 'init_weights']),
    'ghostdet.data.loading:LoadWholeImage': ('mmcv.transforms.loading:LoadImageFromFile', ['transform']),
    'ghostdet.data.loading:DecodeAndResize': ('mmcv.transforms.processing:Resize', ['_resize_img']),
    'ghostdet.data.loading:PackPlanes': ('mmdet.datasets.transforms.formatting:PackDetInputs', ['transform']),
    'ghostdet.evaluation.metrics:CocoTableMetric': ('mmdet.evaluation.metrics.coco_metric:CocoMetric',
                                                   ['compute_metrics']),
    'ghostdet.models.family:GhostFamily': ('mmengine.model.base_module:BaseModule', ['init_weights']),
}
# Methods that another module of the package calls: who does.
CALLED_BY = {
    'put': 'mmengine.runner.checkpoint', 'rmtree': 'mmengine.hooks.checkpoint_hook',
    'remove': 'mmengine.hooks.checkpoint_hook',
    'before_save_checkpoint': 'mmengine.runner.runner', 'before_train': 'mmengine.runner.loops',
    'after_val_epoch': 'mmengine.runner.loops', 'after_train_iter': 'mmengine.runner.loops',
    'run': 'mmengine.runner.runner',
    'train': None, 'test': None, 'loss': 'mmdet.models.detectors.single_stage', 'transform': 'mmcv.transforms.base',
    'compute_metrics': 'mmengine.evaluator.metric',
    'init_weights': 'mmengine.runner.runner', 'build_dataloader': 'mmengine.runner.base_loop',
    'resume': 'mmengine.runner.runner',
}
GENERAL = {'forward', 'train', 'extra_repr', 'transform', '_abc_impl', 'priority', 'emit', '_is_protocol', 'find_class',
           'persistent_load'}  # what every layer, hook, handler or unpickler is asked for by its base class's contract


def resolved(path):
    """The object that 'module:Class', 'module' or an object's dotted path names."""
    module, _, name = path.partition(':')
    if module.startswith('torch.ops.'):
        importlib.import_module('torchvision')
        return getattr(torch.ops, module.rsplit('.')[-1])
    owner = importlib.import_module(module)
    return getattr(owner, name) if name else owner


def has(owner, name):
    """Whether an object has an attribute, or the instances of a class are given it by one of its bases."""
    if hasattr(owner, name):
        return True
    if not isinstance(owner, type):
        return False
    sources = [inspect.getsource(base) for base in owner.__mro__ if base is not object]
    return any(re.search(rf"self\.{name}\b|'{name}'", source) for source in sources)


def check_read(path, names):
    """Fail with the place to look at where a name is gone."""
    owner = resolved(path)
    gone = [name for name in names if not has(owner, name)]
    assert not gone, f'{path} has no {gone} in {versions()}: see who reads it: {readers(gone)}'


def check_override(ours, base, names):
    """Fail where a base class lacks a method, or nobody calls it any more, so that ours would silently never run."""
    for name in names:
        unused = f'in {versions()}, so {ours.__name__}.{name} never runs'
        assert hasattr(base, name), f'{base.__name__} has no method {name} {unused}'
        assert name in vars(ours), f'{ours.__name__} does not override {name}'
        caller = CALLED_BY.get(name, base.__module__)
        if caller:
            source = inspect.getsource(importlib.import_module(caller))
            called = re.search(rf"\.{name}\(|'{name}'|{name}=", source)
            assert called, f'{caller} does not call {name} any more {unused}'


def versions():
    return ', '.join(f'{package} {version(package)} (seen: {seen})' for package, seen in SEEN.items())


def readers(names):
    files = PACKAGE.rglob('*.py')
    return [f'{file.relative_to(PACKAGE)}: {name}' for file in files for name in names if name in file.read_text()]


@pytest.mark.parametrize('path', READ)
def test_names_that_we_read_are_there(path):
    check_read(path, READ[path])


@pytest.mark.parametrize('path', OVERRIDDEN)
def test_methods_that_we_override_are_there_and_called(path):
    base, names = OVERRIDDEN[path]
    check_override(resolved(path), resolved(base), names)


def test_a_name_that_is_misspelt_is_noticed():
    with pytest.raises(AssertionError, match=r"has no \['_lokations'\] in torch .*see who reads it"):
        check_read('mmengine.registry.registry:Registry', ['_locations', '_lokations'])


def test_a_renamed_or_forgotten_method_is_noticed():
    ours, base = (resolved('ghostdet.data.loading:DecodeAndResize'), resolved('mmcv.transforms.processing:Resize'))
    stub = type('Resize', (), {'_resize_image': base._resize_img, '__module__': base.__module__})
    with pytest.raises(AssertionError, match='Resize has no method _resize_img'):
        check_override(ours, stub, ['_resize_img'])
    uncalled = type('Resize', (), {'_resize_img': None, '__module__': 'mmengine.version'})
    with pytest.raises(AssertionError, match=r'does not call _resize_img any more .* never runs'):
        check_override(ours, uncalled, ['_resize_img'])


def test_the_list_of_names_is_complete():
    trees = {file: ast.parse(file.read_text()) for file in PACKAGE.rglob('*.py')}
    known = OWN_RISK.union(*READ.values(), *map(defined, trees.values()))
    missing = [f'{file.relative_to(PACKAGE)}: {name}' for file, tree in trees.items() for name in private_names(tree)
               if name not in known]
    assert not missing, 'name these in READ'


def defined(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
              and getattr(node.value, 'id', '') == 'self'):
            yield node.attr


def private_names(tree):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and not (node.module or '').startswith('ghostdet'):
            names = [*(node.module or '').split('.'), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, 'id', '') in ('getattr', 'hasattr'):
            names = [node.args[1].value] if isinstance(node.args[1], ast.Constant) else []
        yield from (name for name in names if name.startswith('_') and not name.startswith('__') and name.strip('_'))


def test_the_list_of_overrides_is_complete():
    listed = {path: set(names) for path, (_, names) in OVERRIDDEN.items()}
    missing = []
    for module in pkgutil.walk_packages(ghostdet.__path__, 'ghostdet.'):
        if module.name == 'ghostdet.infer.page':  # a script for Streamlit
            continue
        for name, kind in vars(importlib.import_module(module.name)).items():
            if isinstance(kind, type) and kind.__module__ == module.name:
                others = overridden(kind) - GENERAL - listed.get(f'{module.name}:{name}', set())
                missing += [f'{module.name}:{name}.{method}' for method in others]
    assert not missing, 'name these in OVERRIDDEN'


def overridden(kind):
    """Methods of mmengine's, mmcv's, mmdet's and torch's classes; those of Hook are its contract."""
    packages = ('mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'torch')
    bases = [base for base in kind.__mro__ if base.__module__.split('.')[0] in packages and base.__name__ != 'Hook']
    return {name for name in vars(kind) if not name.startswith('__') and any(name in vars(base) for base in bases)}
