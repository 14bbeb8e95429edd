"""`python -m fuzz.guided TARGET`: inputs found by what they reach in the package, by atheris.

Options behind the target are libFuzzer's own, ``-max_total_time=60`` for one. What goes wrong is
written to ``build/fuzz``, and read again by ``python -m fuzz again TARGET FILE``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path("build/fuzz")


def main(arguments: list[str]) -> None:
    """Run a target until a finding, or for as long as libFuzzer is told to."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris (Linux, Python 3.11 to 3.13)")
    tools: Any = atheris
    with tools.instrument_imports(include=["caffe"]):
        from .targets import TARGETS
    from .worker import tried

    target = TARGETS[arguments[0]]
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = (FOLDER / "corpus" / target.name).resolve()
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    words = scratch / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))

    def test(data: bytes) -> None:
        found = tried(target, data, scratch)
        if found is not None:
            raise RuntimeError(": ".join(found))

    prefix = f"-artifact_prefix={FOLDER.resolve()}/{target.name}-"
    options = [*arguments[1:], prefix, f"-dict={words}", "-timeout=60", "-rss_limit_mb=0"]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tools.Setup([sys.argv[0], *options, str(corpus)], test)
    tools.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1:])
