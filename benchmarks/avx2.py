"""Run a benchmark with every engine kept to AVX2, as on a machine that has no more.

PyTorch, with our own kernels, and OpenCV are told by variables. The others ask the processor: in
copies of them `cpuid` is an undefined instruction instead, which a library that is loaded first
answers without AVX-512. That shows which kernels are missing or slow, and not what a machine with
other caches does. Needs `objdump` and a C compiler, on Linux on x86.

    python benchmarks/avx2.py FOLDER forward.py --nets caffenet
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

COPIED = {
    "onnxruntime": ("onnxruntime/capi/*.so*",),
    "openvino": ("openvino/libs/libopenvino.so.*", "openvino/libs/libopenvino_intel_cpu_plugin.so"),
    "MNN": ("_mnncengine*.so",),
    "ncnn": ("ncnn/*.so",),
}
"""By package: the files that ask the processor."""

BESIDE = ("mnn.libs", "ncnn.libs", "_mnncengine*.so")
"""What else belongs to them."""

VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX512-COMMON,AVX512F,AVX512-ICL,AVX512-CLX,AVX512-CNL",
}

CPUID, UNDEFINED = b"\x0f\xa2", b"\x0f\x0b"

ANSWER = """
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

static void answer(int number, siginfo_t *info, void *state) {
    greg_t *registers = ((ucontext_t *)state)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    if (code[0] != 0x0f || code[1] != 0x0b) {
        signal(SIGILL, SIG_DFL);
        return;
    }
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == 7 && part == 0) {
        b &= ~0xdc230000u; /* AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL */
        c &= ~0x00005842u; /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        d &= ~0x03c0010cu; /* 4VNNIW, 4FMAPS, VP2INTERSECT, AMX, FP16 */
    }
    if (leaf == 7 && part == 1)
        a &= ~0x00200030u; /* AVX-VNNI, AVX512-BF16, AMX-FP16 */
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, 0);
}
"""


def main() -> None:
    """Run what the command line asks for."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, script, *arguments = sys.argv[1:]
    place = Path(folder).resolve()
    if not (place / "answer.so").exists():
        prepare(place)
    here = Path(__file__).resolve().parent
    paths = [str(place), os.environ.get("PYTHONPATH", "")]
    changed = {"LD_PRELOAD": str(place / "answer.so"), "PYTHONPATH": ":".join(filter(None, paths))}
    environment = {**os.environ, **VARIABLES, **changed}
    os.execve(sys.executable, [sys.executable, str(here / script), *arguments], environment)


def prepare(folder: Path) -> None:
    """Copy what asks the processor, so that it asks the library that is made beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, patterns in COPIED.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        home = Path(spec.origin).parent
        shutil.copytree(home, folder / package, dirs_exist_ok=True)
        for other in (found for pattern in BESIDE for found in home.parent.glob(pattern)):
            copy = shutil.copytree if other.is_dir() else shutil.copy2
            copy(other, folder / other.name, **({"dirs_exist_ok": True} if other.is_dir() else {}))
        for file in (found for pattern in patterns for found in folder.glob(pattern)):
            print(f"{file.name}: {_ask_elsewhere(file)} places", flush=True)
    source = folder / "answer.c"
    source.write_text(ANSWER)
    made = ["cc", "-O2", "-shared", "-fPIC", "-o", str(folder / "answer.so"), str(source)]
    subprocess.run(made, check=True)


def _ask_elsewhere(file: Path) -> int:
    """Replace each `cpuid` of a library; return how many there were."""
    text = _objdump("-h", file)
    hexadecimal = r"([0-9a-f]+)"
    pattern = rf"^ *\d+ \S+ +{hexadecimal}  {hexadecimal}  [0-9a-f]+  {hexadecimal}"
    sections = [[int(x, 16) for x in found] for found in re.findall(pattern, text, re.MULTILINE)]
    content, count = bytearray(file.read_bytes()), 0
    code = _objdump("-d", "--no-show-raw-insn", file)
    for address in (int(line.split(":")[0], 16) for line in code.splitlines() if "\tcpuid" in line):
        for size, first, offset in sections:
            place = address - first + offset
            if first <= address < first + size and content[place : place + 2] == CPUID:
                content[place : place + 2] = UNDEFINED
                count += 1
                break
    file.write_bytes(content)
    return count


def _objdump(*arguments: str | Path) -> str:
    return subprocess.run(
        ["objdump", *arguments], check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
