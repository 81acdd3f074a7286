"""Convert weights

From PyTorch to Caffe and back. A caffemodel is named arrays: copy each into the layer of its name, and
save. What has to be known is the layout (both have outputs first) and what flattening an image means (the
same order in both). The test is the one that counts: both frameworks give the same scores.

For the paper's nets there is a command: `caffe_gp convert fcn8s_from_caffe.pth fcn8s.caffemodel --model
fcn-8s` knows the files of the well-known ports. The way back is `caffe_gp export` ([Export to
ONNX](export_to_onnx.py), [A torch module](torch_module.py)).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import caffe_gp.caffe as caffe
from caffe_gp.models import zoo

torch.manual_seed(0)
lenet = torch.nn.Sequential(
    torch.nn.Conv2d(1, 20, 5),
    torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(20, 50, 5),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(800, 500),
    torch.nn.ReLU(),
    torch.nn.Linear(500, 10),
)  # stands for a net that you trained

net = caffe.Net(str(zoo.get("lenet").prototxt()), caffe.TEST)
for name, index in {"conv1": 0, "conv2": 2, "ip1": 5, "ip2": 7}.items():
    weights, bias = net.params[name]
    weights.data[...] = lenet[index].weight.detach().numpy()
    bias.data[...] = lenet[index].bias.detach().numpy()
    print(f"{name}: {tuple(weights.shape)}")
net.save("from_torch.caffemodel")

again = caffe.Net(str(zoo.get("lenet").prototxt()), "from_torch.caffemodel", caffe.TEST)
images = np.random.RandomState(0).rand(16, 1, 28, 28).astype(np.float32)
again.blobs["data"].reshape(*images.shape)
again.forward(data=images)
caffes, torchs = again.blobs["ip2"].data, lenet(torch.from_numpy(images)).detach().numpy()
error = np.abs(caffes - torchs).max() / np.abs(torchs).max()
print(f"largest difference of the scores, over the largest: {error:.1e}")

# And back: the parameters as a state_dict.
state = {}
for name, (weights, bias) in again.params.items():
    state[f"{name}.weight"] = torch.from_numpy(weights.data.copy())
    state[f"{name}.bias"] = torch.from_numpy(bias.data.copy())
torch.save(state, "lenet.pth")
print("back:", ", ".join(state))

figure, axes = plt.subplots(figsize=(3.6, 3.4))
axes.plot(torchs.ravel(), caffes.ravel(), ".")
axes.set_xlabel("scores in PyTorch")
axes.set_ylabel("in the embedded Caffe")
figure.tight_layout()
figure.savefig("convert_weights.png", dpi=110)
