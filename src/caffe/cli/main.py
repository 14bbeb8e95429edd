"""The `caffe` command: its subcommands, and what becomes of errors.

A command's module is imported when that command runs; the table here has what `caffe --help` says
of it. Nothing here or in a command's module imports numpy or PyTorch before a command needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from ..pytorch import stay_for_good
from ..version import __version__
from .commands import Command, failures_told, print_anything
from .help import PlainHelp, write_groups
from .interrupts import interruptible


class Entry(NamedTuple):
    """Where a command is, and what it does in a line."""

    module: str
    function: str
    does: str


GROUPS: dict[str, dict[str, Entry]] = {
    "Pictures": {
        "classify": Entry("classify", "classify", "Name what is in pictures."),
        "detect": Entry("detect", "detect", "Find objects in pictures and videos."),
        "segment": Entry("segment", "segment", "Say what is at each place of pictures."),
        "extract": Entry("extract", "extract", "Write what a blob holds for pictures."),
        "look": Entry("look", "look", "Draw a blob's responses to a picture, or filters."),
        "serve": Entry("serve", "serve", "Classify pictures and look into nets in the browser."),
    },
    "Nets and weights": {
        "show": Entry("show", "show", "Show a net layer by layer."),
        "draw": Entry("draw", "draw", "Draw a net."),
        "diff": Entry("diff", "diff", "Tell what differs between two nets, or weight files."),
        "export": Entry("export", "export", "Write a net as ONNX, for PyTorch, or its weights."),
        "import": Entry("import_model", "import_model", "Make a net of ONNX's or PyTorch's model."),
        "convert": Entry("convert", "convert", "Write weights in another form of file."),
        "upgrade": Entry("upgrade", "upgrade", "Write a net or solver in today's form."),
        "time": Entry("time", "time_net", "Time a net, and each of its layers."),
    },
    "Training": {
        "train": Entry("train", "train", "Train a net as a solver's file says."),
        "test": Entry("test", "run_test", "Tell a net's outputs in the TEST phase."),
        "plot": Entry("plot", "plot", "Draw losses and test scores of trainings."),
    },
    "Models and machine": {
        "zoo": Entry("models", "zoo", "List the models that can be named."),
        "fetch": Entry("models", "fetch", "Bring models into the cache directory."),
        "demo-picture": Entry(
            "demo_picture", "demo_picture", "Write a photograph to try the others on."
        ),
        "run": Entry("run", "run_script", "Run a Python program with this Caffe."),
        "device_query": Entry("device_query", "device_query", "Show the GPUs, or why not."),
    },
}
SPELLINGS = {"device-query": "device_query"}
SETTINGS = {"help_option_names": ["-h", "--help"]}


class LateCommands(MutableMapping[str, Any]):
    """The commands by their names, each made when it is asked for."""

    def __init__(self) -> None:
        self._entries = {name: entry for group in GROUPS.values() for name, entry in group.items()}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        name = SPELLINGS.get(name, name)
        if name not in self._made:
            entry = self._entries[name]
            module = importlib.import_module(f".{entry.module}", __package__)
            single = typer.Typer(
                add_completion=False, rich_markup_mode=None, context_settings=SETTINGS
            )
            kind = getattr(module, "KIND", Command)
            single.command(name, cls=kind)(getattr(module, entry.function))
            self._made[name] = typer.main.get_command(single)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in SPELLINGS


class Commands(PlainHelp, TyperGroup):
    """The subcommands, with every failure told in one line on stderr."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LateCommands()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let the subcommand stand behind its options too, as in ``caffe -gpu 0 time``."""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if args and args[0].startswith("-") and args[0].partition("=")[0] not in own:
            named = next((i for i, word in enumerate(args) if word in self.commands), None)
            if named is not None:
                args = [args[named], *args[:named], *args[named + 1 :]]
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by what they are for, then the options."""
        groups = (
            (title, [(name, entry.does) for name, entry in group.items()])
            for title, group in GROUPS.items()
        )
        write_groups(formatter, groups)
        super().format_options(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        with failures_told(debug, "caffe --debug COMMAND"), interruptible():
            return super().invoke(ctx)


app = typer.Typer(
    name="caffe",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"recaffe {__version__}")
        raise typer.Exit


@app.callback()
def caffe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="CAFFE_DEBUG", help="Show tracebacks of errors."),
    ] = False,
) -> None:
    """Caffe for today's Python: run Caffe models from the command line.

    Try it: caffe classify cat.jpg
    """


def run_command() -> None:
    """Run the command line that Python was started with, and exit with its status."""
    print_anything()
    stay_for_good()
    app()
