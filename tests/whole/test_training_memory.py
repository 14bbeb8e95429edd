"""What a training keeps of the memory that its steps free."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep"
)

TRAINING = """
import resource
import caffe
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.files import parse_net

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

class Watch(caffe.Layer):
    begun = []
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): self.begun.append(held())
    def backward(self, top, propagate_down, bottom): pass

text = '''layer { name: "x" type: "Input" top: "x" input_param {
    shape { dim: [16, 16, 128, 128] } } }
layer { name: "w" type: "Python" bottom: "x" top: "y0"
    python_param { module: "__main__" layer: "Watch" } }'''
for k in range(6):
    text += 'layer { name: "c%d" type: "Scale" bottom: "y%d" top: "y%d" }' % (k, k, k + 1)
text += 'layer { name: "l" type: "Reduction" bottom: "y6" top: "l" loss_weight: 1 }'
param = SolverParameter(net_param=parse_net(text), base_lr=1e-9, lr_policy="fixed",
    snapshot_after_train=False)
solver = caffe.SGDSolver(param)
ends = []
solver.add_callback(lambda: None, lambda: ends.append(held()))
solver.step(5)
print(*(end - begun for end, begun in zip(ends, Watch.begun[1:])))
"""


def test_the_first_steps_give_back_what_they_have_freed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAINING],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    given = [float(number) for number in done.stdout.split()]
    # Of seven tops of 16 MiB, and their gradients; later steps use their memory again.
    assert min(given[:2]) > 80
    assert max(given[2:]) < 40
