"""What errors advise, in a command's words: an option instead of a call from Python."""

from __future__ import annotations

OPTIONS = {
    "Call caffe.set_mode_cpu() to run on the CPU.": "Without --gpu it runs on the CPU.",
    "Choose another with caffe.set_device(i).": "Choose another with --gpu N.",
    "use caffe.set_engine('torch')": "use --engine torch",
    " (caffe.layer_type_list() names the known ones)": "",
    "call net.set_input_arrays(data, labels) first": "a MemoryData layer is fed from Python",
}
"""By the advice of the library what stands in its place."""


def as_options(message: str) -> str:
    """Return an error's text with the advice that the command line has for it."""
    for call, option in OPTIONS.items():
        message = message.replace(call, option)
    return message
