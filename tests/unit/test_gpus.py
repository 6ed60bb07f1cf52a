"""As many jobs use GPUs at once as PyTorch sees GPUs here: what the driver says, asked without torch."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from bnopt.study import gpus

# A driver as PyTorch's own calls find it; like the real one it heeds CUDA_VISIBLE_DEVICES by itself.
DRIVER = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int cuInit(unsigned flags) { if (getenv("HANGS")) sleep(30); return getenv("BROKEN") ? 100 : 0; }
int cuDriverGetVersion(int *version) { *version = atoi(getenv("VERSION")); return 0; }
int cuDeviceGetCount(int *count) {
    const char *shown = getenv("CUDA_VISIBLE_DEVICES");
    if (!shown) { *count = 4; return 0; }
    *count = strlen(shown) > 0;
    for (; *shown; shown++) *count += *shown == ',';
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library that answers like the driver of a machine with four GPUs."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    source = tmp_path_factory.mktemp("driver") / "driver.c"
    source.write_text(DRIVER, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", source.with_suffix(".so"), source], check=True)
    return str(source.with_suffix(".so"))


@pytest.fixture
def driver(library, monkeypatch):
    """The machine of `library`, with a PyTorch for CUDA 13; environment variables change it."""
    monkeypatch.setattr(gpus, "_built_for", lambda: ((library, *gpus.CUDA[1:]), "13"))
    monkeypatch.setenv("VERSION", "13010")
    for name in ("CUDA_VISIBLE_DEVICES", "BROKEN", "HANGS"):
        monkeypatch.delenv(name, raising=False)
    gpus.visible.cache_clear()
    yield
    gpus.visible.cache_clear()


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 4),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,3"}, 2),
        ({"CUDA_VISIBLE_DEVICES": "MIG-c5e4b1d2-0000-5a5a-9e9e-1234567890ab"}, 1),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"BROKEN": "1"}, 0),
        ({"VERSION": "12040"}, 0),
    ],
    ids=["all", "one", "two", "a slice", "none visible", "no device", "driver too old"],
)
def test_the_driver_is_asked_as_pytorch_asks_it(driver, monkeypatch, variables, number):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gpus.visible() == number
    assert gpus.places() == (number or gpus.UNLIMITED)


def test_a_driver_that_does_not_answer_is_no_gpu(driver, monkeypatch):
    monkeypatch.setenv("HANGS", "1")
    monkeypatch.setattr(gpus, "SECONDS", 0.5)
    assert gpus.visible() == 0


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", (gpus.CUDA, "13")),
        ("cuda = '12.8'\n", (gpus.CUDA, "12")),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", None),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n", (gpus.HIP, "0")),
        (None, None),
    ],
    ids=["CUDA", "an older one", "CPU only", "ROCm", "another layout"],
)
def test_the_installed_pytorch_says_which_driver_it_uses(tmp_path, monkeypatch, text, built):
    """A PyTorch for the CPU uses no GPU, even if there is one: its jobs wait for none."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").touch()
    if text:
        (package / "version.py").write_text(text, encoding="utf-8")
    spec = gpus.importlib.util.spec_from_file_location("torch", package / "__init__.py")
    monkeypatch.setattr(gpus.importlib.util, "find_spec", lambda name: spec)
    spec.submodule_search_locations = [str(package)]
    assert gpus._built_for() == built


@pytest.mark.parametrize("shown", [None, ""])
def test_the_number_is_that_of_pytorch(shown):
    program = "import sys; from bnopt.study import gpus; print(gpus.visible(), 'torch' in sys.modules)"
    environment = {
        n: value for n, value in os.environ.items() if n != "CUDA_VISIBLE_DEVICES" or shown is None
    }
    environment |= {"PYTHONPATH": "src"} | ({} if shown is None else {"CUDA_VISIBLE_DEVICES": shown})
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=os.path.join(os.path.dirname(__file__), "..", ".."),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{torch.cuda.device_count() if shown is None else 0} False\n"
