"""The file a newcomer starts from works as it stands."""

from nunet_node.jobs.job_file.description import JobFile, job_spec
from nunet_node.jobs.job_file.options import JOB_OPTIONS, read_job_file
from nunet_node.jobs.job_file.template import TEMPLATE


def test_the_template_is_a_job_file_with_the_defaults():
    written = job_spec(read_job_file(TEMPLATE), inputs=None, inputs_bytes=0)
    said_nothing = job_spec(
        JobFile(program="main.py", name="my-job"), inputs=None, inputs_bytes=0
    )

    assert written == said_nothing


def test_the_template_shows_every_option():
    assert all(f"{name}:" in TEMPLATE for name in JOB_OPTIONS)
