"""Graphics processors are asked for in the same words in a file and on the line."""

import pytest

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import JobFileError, job_spec, read_job_file
from nunet_node.jobs.job_file.gpu import parse_gpu
from nunet_node.quantities import GPUS_MAX, Gpus

JOB = "version: 1\ncommand: [nvidia-smi]\nresources:\n  gpu: "
FULL = Gpus(vendor="nvidia", model="H100", memory_bytes=40 * 10**9, count=2)


def read(words):
    return read_job_file(JOB + words).gpus


@pytest.mark.parametrize(
    ("words", "gpus"),
    [
        ("1", Gpus()),
        ("{count: 2}", Gpus(count=2)),
        ("{model: A100 80GB}", Gpus(model="A100 80GB")),
        ("{count: 2, vendor: NVIDIA, model: H100, vram: 40GB}", FULL),
    ],
)
def test_a_file_says_how_many_or_which(words, gpus):
    assert read(words) == gpus


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("1", Gpus()),
        ("model=T4", Gpus(model="T4")),
        ("2,vendor=nvidia,model=H100,vram=40GB", FULL),
        ("vram=16GiB, count=3", Gpus(memory_bytes=16 << 30, count=3)),
    ],
)
def test_an_option_says_the_same(text, gpus):
    assert parse_gpu(text) == gpus


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", f"1 to {GPUS_MAX}"),
        ("65", f"1 to {GPUS_MAX}"),
        ("many", "number of GPUs"),
        ("1,memory=4GB", "says nothing of a GPU"),
        ("1,modle=T4", "did you mean"),
        ("vendor=n v", "vendor"),
        ("model=", "part of a GPU's name"),
        ("vram=much", "size"),
    ],
)
def test_a_mistake_gets_a_sentence(text, words):
    with pytest.raises(PeerError, match=words):
        parse_gpu(text)


def test_a_mistake_in_a_file_names_its_line():
    with pytest.raises(JobFileError, match="line 4"):
        read("{count: none}")
    with pytest.raises(JobFileError, match="line 4"):
        read("{cuont: 1}")


def test_what_is_asked_for_is_in_the_specification():
    spec = job_spec(read_job_file(JOB + "2"), inputs=None, inputs_bytes=0)
    assert spec.resources.gpu_kinds == (Gpus(count=2),)


def test_an_engine_that_reaches_no_gpu_is_named():
    file = read_job_file(JOB.replace("command: [nvidia-smi]", "script: a.py") + "1")
    with pytest.raises(JobFileError, match="engine python reaches no GPU"):
        job_spec(file, inputs=None, inputs_bytes=0)
