"""Ways out of Caffe: a net as a PyTorch module that needs no caffe_gp, and as ONNX.

export_net("deploy.prototxt", "net.caffemodel", torch_file="net.py", onnx_file="net.onnx")
"""

from __future__ import annotations

from caffe_gp.export.write import Exported, export_net

__all__ = ["Exported", "export_net"]
