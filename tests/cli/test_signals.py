"""What Ctrl-C and a hang-up ask of a training."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

HEAD = """
import signal
from caffe.cli.signals import Effect, Signals
from caffe.solver.solver import Action

"""


def run(code: str) -> None:
    """Run code in a process of its own: signals that miss their handler end it."""
    command = [sys.executable, "-c", HEAD + dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_is_asked_for_once() -> None:
    run("""
        signals = Signals(Effect.SNAPSHOT, Effect.STOP)
        with signals.noted():
            assert signals.action() is Action.NONE
            signal.raise_signal(signal.SIGINT)
            assert signals.action() is Action.SNAPSHOT
            assert signals.action() is Action.NONE
            signal.raise_signal(signal.SIGHUP)
            assert signals.action() is Action.STOP
        assert signals.has_stopped
        """)


def test_a_second_interrupt_stops_at_once() -> None:
    run("""
        signals = Signals(Effect.STOP, Effect.NONE)
        before = signal.getsignal(signal.SIGINT)
        with signals.noted():
            signal.raise_signal(signal.SIGINT)
            assert signals.action() is Action.STOP
            # The last snapshot may be under way.
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                stopped = True
            assert stopped
        assert signal.getsignal(signal.SIGINT) is before
        """)


def test_none_is_nothing() -> None:
    run("""
        signals = Signals(Effect.NONE, Effect.NONE)
        with signals.noted():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGHUP)
            assert signals.action() is Action.NONE
        """)
