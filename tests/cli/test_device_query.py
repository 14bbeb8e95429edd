"""`caffe device_query`: the machine's GPUs, for people and for programs."""

from __future__ import annotations

import json

import torch

from caffe.devices import device_facts, why_unusable
from tests.helpers.command import caffe_command


def test_the_facts_are_there_as_json_too() -> None:
    done = caffe_command("device_query", "--json")
    assert done.exit_code == 0
    told, facts = json.loads(done.stdout), device_facts()
    assert told["pytorch"] == torch.__version__
    assert [gpu["name"] for gpu in told["gpus"]] == [card.name for card in facts.cards]
    assert told["unusable"] == why_unusable(facts, 0)


def test_a_gpu_that_is_not_there_is_an_exit_code_for_programs_too() -> None:
    done = caffe_command("device_query", "--json", "--gpu", "99")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["gpus"] == []
    assert "GPU mode is not possible" in done.stderr
