"""What pytest hands to the tests of every room, and where their nets run.

That is on the CPU, unless RECAFFE_TEST_STORE names a GPU ("0") or "second": a second store in CPU
memory in the GPU's place, as in `tests.helpers.second_store`. Tests of what only the CPU does have
the mark "cpu", and are left out there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.places import SHARED

# What is the quickest is found out by each test for itself, and told to nobody; also by programs
# that a test starts.
os.environ["RECAFFE_REMEMBER"] = "0"

# Nor do tests report to the makers of ONNX Runtime, which they load themselves, too.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Triton interprets a GPU's kernels where there is no card, if it is told so before it is loaded.
if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
    os.environ["TRITON_INTERPRET"] = "1"

# A shell lets what it runs in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


PLACE = os.environ.get("RECAFFE_TEST_STORE", "")


@pytest.fixture(autouse=True)
def where_nets_run(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nets run where RECAFFE_TEST_STORE says."""
    if not PLACE:
        yield
        return
    if request.node.get_closest_marker("cpu") is not None:
        pytest.skip("of the CPU")
    import caffe
    from caffe import mode
    from tests.helpers.second_store import CountingStore, use_store

    if PLACE == "second":
        use_store(CountingStore())
    else:
        mode.set_gpu(int(PLACE))
    yield
    caffe.set_mode_cpu()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material (real models, pictures, figures); skips without it."""
    if not (SHARED / "goldens").is_dir():
        pytest.skip(f"the reference material is not at {SHARED} (set RECAFFE_SHARED)")
    return SHARED


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Whoever sets the log up does so for this test alone."""
    from caffe.logs import logger

    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)


@pytest.fixture
def try_small_nets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let "auto" try other engines on nets that are too small for it to matter."""
    import caffe
    from caffe.engine.backends import choice

    monkeypatch.setattr(choice, "LEAST_WORK", 0)
    caffe.set_engine("auto")
    yield
    caffe.set_engine("auto")


@pytest.fixture
def gpu_mode() -> Iterator[None]:
    """GPU mode where there is no GPU, see `tests.helpers.card`."""
    from tests.helpers.card import on_a_card

    with on_a_card():
        yield


@pytest.fixture
def own_layers() -> Iterator[None]:
    """Layers that the test registers are unknown again after it."""
    from caffe.layers.registry import registry

    known = dict(registry())
    yield
    registry().clear()
    registry().update(known)
