"""The `caffe` command."""


def run() -> None:
    """Run the command line that Python was started with, and exit with its status."""
    # Before anything is imported that takes its time.
    from .interrupts import end_at_once

    end_at_once()
    from .loading import loading_sign

    with loading_sign():
        from .main import run_command

        run_command()
