"""An old caffemodel

Files of 2014 have `layers` in place of `layer`, types as numbers, blobs of four axes, and a learning rate
beside each blob. They are read as they are; there is nothing to upgrade first. Here a LeNet of today is
written as such a file (Caffe's V1 format), and both give the same scores.

What is wrong is said: the last lines cut the file in two, as a broken download does.
"""

import matplotlib.pyplot as plt
import numpy as np

import caffe_gp.caffe as caffe
from caffe_gp import CaffeGPError
from caffe_gp.caffe.proto import caffe_pb2
from caffe_gp.models import zoo
from caffe_gp.models.weights import require

prototxt, caffemodel = str(zoo.get("lenet").prototxt()), str(require("lenet"))
today = caffe.Net(prototxt, caffemodel, caffe.TEST)

types = {"conv1": "CONVOLUTION", "conv2": "CONVOLUTION", "ip1": "INNER_PRODUCT", "ip2": "INNER_PRODUCT"}
old = caffe_pb2.NetParameter(name="lenet of 2014")
for name, type_name in types.items():
    layer = old.layers.add(name=name, type=caffe_pb2.V1LayerParameter.LayerType.Value(type_name))
    for blob in today.params[name]:
        stored = layer.blobs.add()
        stored.data.extend(blob.data.ravel())
        shape = (1,) * (4 - len(blob.shape)) + tuple(blob.shape)  # always four axes
        stored.num, stored.channels, stored.height, stored.width = shape
    layer.blobs_lr.extend([1, 2])
with open("old.caffemodel", "wb") as file:
    file.write(old.SerializeToString())

of_2014 = caffe.Net(prototxt, "old.caffemodel", caffe.TEST)
image = np.zeros((1, 1, 28, 28), np.float32)
image[0, 0, 4:24, 13:16] = 1  # a 1
for net in (today, of_2014):
    net.blobs["data"].reshape(*image.shape)
    scores = next(iter(net.forward(data=image).values()))
    print("digit", int(scores.argmax()), "score", f"{float(scores.max()):.3f}")
same = np.array_equal(today.blobs["ip2"].data, of_2014.blobs["ip2"].data)
print("the same scores to the last bit:", same)

with open("old.caffemodel", "rb") as file, open("cut.caffemodel", "wb") as cut:
    cut.write(file.read()[:100_000])
try:
    caffe.Net(prototxt, "cut.caffemodel", caffe.TEST)
except CaffeGPError as error:
    print(error)

figure, axes = plt.subplots(2, 10, figsize=(8, 1.8))
for axis, kernel in zip(axes.flat, of_2014.params["conv1"][0].data[:, 0]):
    axis.imshow(kernel, cmap="gray")
    axis.axis("off")
figure.suptitle("conv1, as the old file holds it")
figure.savefig("old_caffemodel.png", dpi=110)
