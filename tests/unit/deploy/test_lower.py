"""Raw files are lowered to an opset that compilers of chips take."""
import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ghostdet.deploy.convert import RAW_OPSET, _lower


def test_axes_of_reductions_stay_where_the_older_opset_has_them():
    """ReduceSum has them as an input since opset 13, ReduceMean since 18."""
    nodes = [helper.make_node('ReduceSum', ['x', 'axes'], ['sum'], keepdims=1, noop_with_empty_axes=0),
             helper.make_node('ReduceMean', ['sum', 'more'], ['mean'], keepdims=0)]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in (('x', [2, 3]), ('mean', [1])))
    constants = [numpy_helper.from_array(np.array([axis]), name) for axis, name in ((1, 'axes'), (0, 'more'))]
    model = helper.make_model(helper.make_graph(nodes, 'g', [x], [y], constants),
                              opset_imports=[helper.make_opsetid('', 18)])
    _lower(model)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == RAW_OPSET
    found, = ReferenceEvaluator(model).run(None, {'x': np.float32([[1, 2, 3], [4, 5, 7]])})
    assert found.tolist() == [11]
