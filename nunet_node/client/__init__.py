"""The Python interface: what the command line does, for programs.

::

    async with open_client(bootstrap=["/ip4/…"]) as client:
        handle = await client.submit(JobFile(command=("uname", "-a")))
        order = await handle.ended()
        path = await handle.fetch(Path("result"))

Everything runs on trio. One client keeps its connections, so that several jobs
share them.
"""

from nunet_node.client.documents import (
    job_document,
    node_documents,
    order_document,
    status_document,
)
from nunet_node.client.errors import (
    AmbiguousJobError,
    ClientError,
    CommandRefusedError,
    NoNetworkError,
    ProviderUnreachableError,
    ResultMissingError,
    UnknownJobError,
)
from nunet_node.client.fetching.copies import Copy, ProviderSilent, ReadElsewhere
from nunet_node.client.handle import JobHandle, LogPiece, OnEvent
from nunet_node.client.identities import DEFAULT_IDENTITY
from nunet_node.client.session import Client, open_client
from nunet_node.jobs.job_file import FileInput, JobFile

__all__ = [
    "DEFAULT_IDENTITY",
    "AmbiguousJobError",
    "Client",
    "ClientError",
    "CommandRefusedError",
    "Copy",
    "FileInput",
    "JobFile",
    "JobHandle",
    "LogPiece",
    "NoNetworkError",
    "OnEvent",
    "ProviderSilent",
    "ProviderUnreachableError",
    "ReadElsewhere",
    "ResultMissingError",
    "UnknownJobError",
    "job_document",
    "node_documents",
    "open_client",
    "order_document",
    "status_document",
]
