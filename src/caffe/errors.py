"""The exceptions that Recaffe raises where the original aborted the process."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class CaffeError(RuntimeError):
    """Any failure that Recaffe reports; its text says what, where and what to do."""

    # OSError's, which some of the kinds have too, would tell number and name once more.
    __str__ = Exception.__str__


class ArgumentError(CaffeError, TypeError):
    """An argument is of a type that the function does not take."""


class UnknownNameError(CaffeError, AttributeError):
    """A layer, or its message, has no setting of that name."""


class MissingNameError(CaffeError, KeyError):
    """A net has no blob, layer or parameters of that name."""


class ParseError(CaffeError):
    """A prototxt, caffemodel or other file does not hold what it should.

    Parameters
    ----------
    message : str
        What is wrong.
    source : str, optional
        The file's path, or a name for a text that came from no file.
    line, column : int, optional
        Where, counted from 1.
    text : str, optional
        The offending line itself.
    """

    def __init__(
        self,
        message: str,
        source: str | None = None,
        line: int | None = None,
        column: int | None = None,
        text: str | None = None,
    ) -> None:
        self.source = source
        self.line = line
        self.column = column
        place = ":".join(str(part) for part in (source, line, column) if part is not None)
        shown = f"{place}: {message}" if place else message
        if text is not None:
            shown += f"\n    {text.rstrip()}"
            if column is not None:
                shown += f"\n    {' ' * (column - 1)}^"
        super().__init__(shown)


class MissingFileError(ParseError, FileNotFoundError):
    """There is no such net, file of weights, mean or list; its path is in `filename`."""

    errno: int = errno.ENOENT

    def __init__(self, message: str, source: str | None = None) -> None:
        super().__init__(message, source)
        self.filename = source


class NetError(CaffeError):
    """The net's description does not make a net: unknown layer, missing bottom, doubled top.

    Parameters
    ----------
    message : str
        What is wrong.
    word : str, optional
        The name or type in the net's text by which the place can be found.
    """

    def __init__(self, message: str, word: str | None = None) -> None:
        self.word = word
        super().__init__(message)


class ShapeError(CaffeError, ValueError):
    """A blob or an array has a shape that its place does not allow."""


class ShapeTypeError(ShapeError, ArgumentError):
    """What should be a dimension is no number at all."""


class WeightsError(CaffeError):
    """The weights do not belong to the net: blob count or shape differs."""


class TrainingError(CaffeError):
    """A training cannot go on: its loss or its parameters are no numbers any more."""


class WriteError(CaffeError, OSError):
    """A file cannot be written: no such folder, no permission, a full disk.

    Parameters
    ----------
    path : path-like
        The file that was to be written.
    cause : OSError
        What the operating system said.
    """

    def __init__(self, path: PathLike, cause: OSError) -> None:
        super().__init__(f"{os.fsdecode(path)}: cannot be written: {cause.strerror}")
        self.path = path
        self.errno = cause.errno
        self.strerror = cause.strerror

    def __reduce__(self) -> tuple[Any, ...]:
        """How another process gets it."""
        return type(self), (self.path, OSError(self.errno, self.strerror))


class DeviceError(CaffeError):
    """No usable GPU, or no such device."""


class ImageError(CaffeError, OSError):
    """A picture cannot be read."""


class MissingImageError(ImageError, FileNotFoundError):
    """There is no such picture."""

    errno: int = errno.ENOENT


class FetchError(CaffeError):
    """A download failed or is not what it should be."""


class MissingExtraError(CaffeError, ImportError):
    """An optional package is needed; the text names the extra that brings it."""


class OutOfMemoryError(CaffeError, MemoryError):
    """Memory, the computer's or a GPU's, does not suffice."""


class CaffeWarning(UserWarning):
    """Something was ignored that the reader of the file should know of."""


def did_you_mean(
    name: str, known: Iterable[str], otherwise: str = "", most: int = 3, cutoff: float = 0.6
) -> str:
    """Return a question with the known names that are most like `name`, to be read after a "; ".

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What it could have been.
    otherwise : str
        What is returned where none is like it.
    most : int
        How many names the question may hold.
    cutoff : float
        How like it a name must be, from 0 to 1.

    Examples
    --------
    >>> did_you_mean("convv1", ["conv1", "conv2", "fc"], most=1)
    "did you mean 'conv1'?"
    """
    # Loaded only where something went wrong.
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def unreadable(message: str, source: str, cause: Exception) -> ParseError:
    """Return the error for a file that cannot be read: a `MissingFileError` if there is none."""
    kind = MissingFileError if isinstance(cause, FileNotFoundError) else ParseError
    return kind(message, source)


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "error: out of memory",
    "backend out of memory",
    "STATUS_ALLOC_FAILED",
)
"""What PyTorch says of the CPU's memory, and the drivers and libraries of GPUs of theirs."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy or PyTorch says that memory does not suffice."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        # PyTorch's own class, which is not to be loaded for this.
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in _OUT_OF_MEMORY)
    )


def in_a_sentence(error: Exception, what: str) -> str:
    """Return what an error says, in one sentence: PyTorch's texts may be paragraphs.

    Parameters
    ----------
    error : Exception
        Anybody's.
    what : str
        What could not be had, to be read after "memory does not suffice for".
    """
    if is_out_of_memory(error):
        return f"memory does not suffice for {what}; a smaller batch needs less"
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type's name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def as_caffe_error(error: Exception, label: str = "", facts: str = "") -> CaffeError:
    """Return what somebody else's code raised as an error of ours.

    Parameters
    ----------
    error : Exception
        PyTorch's, numpy's or Python's; or one of ours, which is only given the label.
    label : str
        Whose work it was, to stand in front ("layer 'conv1' (Convolution)").
    facts : str
        On what, to stand behind.
    """
    place = f"{label}: " if label else ""
    behind = f" ({facts})" if facts else ""
    if isinstance(error, CaffeError):
        if place and not str(error).startswith("layer '"):
            # Whose memory did not suffice does not know for what.
            more = behind if isinstance(error, OutOfMemoryError) else ""
            error.args = (f"{place}{error}{more}", *error.args[1:])
        return error
    text = str(error).strip()
    text = text.splitlines()[0] if text else ""
    if is_out_of_memory(error):
        import traceback

        # As long as somebody handles the error, it would hold what was computed until then.
        traceback.clear_frames(error.__traceback__)
        # PyTorch goes on for a paragraph about its allocator.
        text, is_free, _ = text.partition(" is free")
        what = f"out of memory ({text}{is_free})" if text else "out of memory"
        return OutOfMemoryError(f"{place}{what}; a smaller batch needs less{behind}")
    # By themselves the texts of others (a KeyError's, which is a key) may not say what is wrong.
    if type(error) is not RuntimeError:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return CaffeError(f"{place}{text or 'an error without a text'}{behind}")


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Parameters
    ----------
    module : str
        The module to import, for example ``"h5py"``.
    extra : str
        The extra of this distribution that installs it.
    purpose : str
        What it is needed for, to be read after "needed for".

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        from .installation import install_command

        raise MissingExtraError(
            f"{module} is needed for {purpose}; install it with: {install_command(extra)}"
        ) from error
