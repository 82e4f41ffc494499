"""Job files: a job as a person writes it, and the specification it stands for."""

from nunet_node.jobs.job_file.description import (
    JobFile,
    engine_of,
    job_spec,
    name_of,
)
from nunet_node.jobs.job_file.options import read_job_file, schema
from nunet_node.jobs.job_file.plain_yaml import JobFileError
from nunet_node.jobs.job_file.values import FileInput

__all__ = [
    "FileInput",
    "JobFile",
    "JobFileError",
    "engine_of",
    "job_spec",
    "name_of",
    "read_job_file",
    "schema",
]
