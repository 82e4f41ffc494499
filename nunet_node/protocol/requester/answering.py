"""What the answer to a question of the user says to whoever asked.

Rule: an answer counts only for the question that it fits: a receipt is no report, and
what a holder shows is no word of the job's provider. Anything else is a refusal.
"""

from nunet_node.jobs.statements import LogReceipt, Receipt, Report
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import (
    CommandRefused,
    LogsGranted,
    ProviderUnreachable,
    ReadGranted,
    ReportReceived,
)
from nunet_node.protocol.messages import LOGS, READ, STATUS
from nunet_node.protocol.replicas.events import LogCopyGranted
from nunet_node.protocol.requester.judging import not_signed
from nunet_node.protocol.requester.memory import Errand, Outcome
from nunet_node.protocol.turn import Turn
from nunet_node.results.logs.chain import LogHead


def tell_answer(turn: Turn, outcome: Outcome) -> None:
    """Tell the user what was answered to a question, or why nothing was."""
    errand, answer = outcome.errand, outcome.answer
    payload = answer.payload if answer is not None else None
    match payload:
        case Report() if payload.job == errand.job and errand.command == STATUS:
            turn.tell(
                ReportReceived(job=errand.job, provider=errand.provider, report=payload)
            )
        case Report() if payload.job == errand.job:
            turn.tell(_logs_granted(errand, payload))
        case LogReceipt() | Receipt() if (
            payload.job == errand.job
            and errand.command == LOGS
            and errand.answers_as is not None
        ):
            turn.tell(_copy_granted(errand, payload, answer.data))
        case Receipt() if payload.job == errand.job and errand.command == READ:
            turn.tell(
                ReadGranted(
                    job=errand.job,
                    peer_id=errand.peer_id,
                    receipt=payload,
                    receipt_data=answer.data,
                )
            )
        case _:
            _untold(turn, outcome)


def _untold(turn: Turn, outcome: Outcome) -> None:
    errand = outcome.errand
    if outcome.unreachable:
        turn.tell(
            ProviderUnreachable(
                job=errand.job,
                provider=errand.provider,
                reason=outcome.unreachable,
                lost=False,
            )
        )
        return
    refusal = outcome.refusal or Refusal(
        code="peer.wrong-answer", reason="answered something else"
    )
    told = CommandRefused(
        job=errand.job,
        command=errand.command,
        provider=errand.provider,
        refusal=refusal,
    )
    turn.tell(not_signed(outcome) if outcome.unsigned else told)


def _copy_granted(
    errand: Errand, said: LogReceipt | Receipt, data: bytes
) -> LogCopyGranted:
    return LogCopyGranted(
        job=errand.job,
        peer_id=errand.peer_id,
        holder=errand.provider,
        receipt=said,
        receipt_data=data,
    )


def _logs_granted(errand: Errand, said: Report) -> LogsGranted:
    digest = said.log_digest
    head = LogHead(links=said.log_links, digest=digest) if digest else None
    return LogsGranted(
        job=errand.job, peer_id=errand.peer_id, attempt=said.attempt, head=head
    )
