# The same at 320x320.
_base_ = './nanodet-plus_416_coco.py'

scale = (320, 320)
train_pipeline = [{**step, 'scale': scale} if step['type'] == 'Resize' else step for step in _base_.train_pipeline]
test_pipeline = [{**step, 'scale': scale} if step['type'] == 'Resize' else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
