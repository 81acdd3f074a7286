"""Export to ONNX

A caffemodel becomes an ONNX file that needs neither Caffe nor this project. It is checked before it is
written: run in onnxruntime beside the embedded Caffe, at two sizes; above a relative difference of 1e-4
nothing is written.

On the command line: `caffe_gp export --model digits --onnx digits.onnx`. Needs `pip install
'caffe_gp[export]'`.
"""

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime

from caffe_gp import load_model
from caffe_gp.datasets.digit_scenes import PALETTE, DigitScenes
from caffe_gp.export import export_net
from caffe_gp.models import zoo
from caffe_gp.models.weights import require

done = export_net(zoo.get("digits").prototxt(), require("digits"), onnx_file="digits.onnx")
print("inputs", done.shapes, "outputs", done.outputs)
print(f"largest relative difference: {done.errors['onnx']:.1e}")

digits = load_model("digits")
images, truth = DigitScenes("test").batch(range(4))
inputs = digits.preprocess.batch(images[..., ::-1])
session = onnxruntime.InferenceSession("digits.onnx", providers=["CPUExecutionProvider"])
(scores,) = session.run(None, {session.get_inputs()[0].name: inputs})
labels = scores.argmax(1)
print("scores", scores.shape, f"right {100 * np.mean(labels == truth):.2f} %")

figure, axes = plt.subplots(2, 4, figsize=(8, 4))
for column, image, label in zip(axes.T, images, labels):
    column[0].imshow(image[..., ::-1])
    column[1].imshow(np.array(PALETTE, np.uint8)[label], interpolation="nearest")
for axis in axes.flat:
    axis.axis("off")
figure.suptitle("labels from onnxruntime")
figure.tight_layout()
figure.savefig("export_to_onnx.png", dpi=110)
