"""Memory from which bytes are sent: used again, but not before the GPU has read it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from caffe.memory import staging
from caffe.memory.staging import Piece, Staging

CPU = torch.device("cpu")


class Slow(Piece):
    """Memory whose GPU reads it when it is told to, or waited for."""

    made: list[Slow]

    def __init__(self, size: int, device: torch.device) -> None:
        self.memory = torch.empty(size, dtype=torch.uint8)
        self.is_noted, self.waits = False, 0
        self.made.append(self)

    def note(self) -> None:
        self.is_noted = True

    @property
    def is_read(self) -> bool:
        return not self.is_noted

    def wait(self) -> None:
        self.waits += self.is_noted
        self.is_noted = False


@pytest.fixture
def made() -> list[Slow]:
    Slow.made = []
    return Slow.made


def values(count: int, value: int = 0) -> np.ndarray:
    return np.full((count // 4, 4), value, np.uint8)


def test_what_is_sent_stays_whatever_becomes_of_the_array(made: list[Slow]) -> None:
    own = Staging(CPU, Slow)
    # Turned round, and closed to writing.
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)[::-1, :, ::-1]
    array.flags.writeable = False
    expected = array.copy()
    sent = [own.send(array)]
    made[0].wait()
    sent.append(own.send(np.zeros_like(array)))
    assert sent[0].shape == array.shape
    np.testing.assert_array_equal(sent[0].numpy(), expected)
    assert not sent[1].numpy().any()
    assert len(made) == 1


def test_what_the_gpu_has_not_read_is_left_to_it(made: list[Slow]) -> None:
    own = Staging(CPU, Slow)
    for value in range(3):
        own.send(values(100, value))
    assert [int(piece.memory[0]) for piece in made] == [0, 1, 2]
    assert not any(piece.waits for piece in made)
    made[1].wait()
    own.send(values(100, 7))
    assert [int(piece.memory[0]) for piece in made] == [0, 7, 2]


def test_with_no_room_for_more_the_gpu_is_waited_for(
    made: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MOST", 3 * staging.LEAST)
    own = Staging(CPU, Slow)
    for value in range(5):
        own.send(values(100, value))
    assert [int(piece.memory[0]) for piece in made] == [3, 4, 2]
    assert [piece.waits for piece in made] == [1, 1, 0]


def test_larger_ones_take_the_place_of_what_has_waited_longest(
    made: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MOST", 4 * staging.LEAST)
    own = Staging(CPU, Slow)
    for count in (100, 100, 100, 2 * staging.LEAST - 4, 8 * staging.LEAST, 100):
        own.send(values(count))
    sizes = [piece.memory.numel() // staging.LEAST for piece in made]
    assert sizes == [1, 1, 1, 2, 8, 1]
    assert own._kept <= staging.MOST


def test_threads_do_not_share_a_piece(made: list[Slow]) -> None:
    own = Staging(CPU, Slow)
    errors: list[int] = []

    def send(value: int) -> None:
        for _ in range(200):
            if not (own.send(values(4000, value)) == value).all():
                errors.append(value)

    threads = [threading.Thread(target=send, args=(value,)) for value in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
