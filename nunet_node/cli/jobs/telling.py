"""What is known of a job, as text for people.

Rule: it says what `status_document` says, and nothing else.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nunet_node.cli.output import fields, table
from nunet_node.cli.progress import queue_text, short
from nunet_node.client import Copy, status_document
from nunet_node.jobs.lifecycle import is_final
from nunet_node.jobs.statements import Report
from nunet_node.protocol.order import Order
from nunet_node.quantities import cpu_text, size_text


def status_text(
    order: Order, report: Report | None, copies: Sequence[Copy] | None = None
) -> str:
    """Return all that is known of a job, for a person."""
    shown = status_document(order, report, copies=copies, now_s=now_s())
    room: dict[str, Any] = shown["resources"] or {}
    told = report or order
    lines = {
        "job": order.job,
        "name": shown["name"],
        "state": shown["state"] + queue_text(told.queue),
        "reason": shown["reason"],
        "exit code": shown["exit_code"],
        "owner": shown["owner"],
        "provider": shown["provider"],
        "resources": f"{cpu_text(room['cpu_millis'])} CPU, "
        f"{size_text(room['memory_bytes'])} memory, "
        f"{size_text(room['disk_bytes'])} disk"
        if room
        else None,
        "result": (shown["result"] or {}).get("cid"),
        "link": (shown["result"] or {}).get("link"),
        "fetched to": (shown["result"] or {}).get("path"),
        "kept until": _kept_text(shown["retention"]),
        "copies": _copies_text(shown["retention"]),
    }
    history = [
        (when(move["at"]), move["state"], move["reason"]) for move in shown["history"]
    ]
    bids = [
        (
            short(bid["provider"]),
            "" if bid["price"] is None else f"{bid['price']} NTX",
            bid["refused"] or "bid",
        )
        for bid in shown["bids"]
    ]
    parts = [fields(lines)]
    if history:
        parts.append(table(("WHEN", "STATE", "WHY"), history))
    if bids:
        parts.append(table(("PROVIDER", "PRICE", "ANSWER"), bids))
    return "\n\n".join(parts)


def _kept_text(retention: dict[str, Any] | None) -> str | None:
    if retention is None or retention["until"] is None:
        return None
    return when(retention["until"]) + (" (expired)" if retention["expired"] else "")


def _copies_text(retention: dict[str, Any] | None) -> str | None:
    if retention is None or retention["replicas_wanted"] == 0:
        return None
    held, wanted = retention["replicas"], retention["replicas_wanted"]
    if held is None or not (held or wanted):
        return f"{wanted} wanted" if wanted else None
    who = f": {', '.join(map(short, held))}" if held else ""
    much = f" of {wanted}" if wanted else ""
    found = " found" if retention["replicas_told_by"] == "holders" else ""
    return f"{len(held)}{much}{found}{who}"


def next_after(order: Order, report: Report | None) -> str:
    """Return the command that makes sense next."""
    told = report or order
    if told.result is not None:
        return f"nunet-node get {order.job}"
    if is_final(told.state):
        return "nunet-node list"
    return f"nunet-node wait {order.job}, or nunet-node cancel {order.job}"


def now_s() -> int:
    """Return the time by this machine's clock, unix seconds."""
    return int(time.time())


def when(unix_s: int) -> str:
    """Return a moment as a local date and time."""
    moment = datetime.fromtimestamp(unix_s).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")[:19]
