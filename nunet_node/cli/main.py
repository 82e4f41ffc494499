"""The command line: global options, the commands, and how each of them ends.

Rule: a command parses, calls and prints; it decides nothing. A command's module is
imported when it is called, so that ``--help`` does not wait for the network stack.
Every error ends here as one line that names the thing and the remedy:

====  ==========================================================
  0   done
  1   any failure that has no number of its own
  2   the command, or a file that it was given, was written wrong
  3   refused: no such job, or not yours
  124, 125, 130 and a job's own code: see ``submit`` and ``wait``
====  ==========================================================
"""

import contextlib
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

import nunet_node
from nunet_node.cli.loading import load
from nunet_node.cli.output import Settings, forget, stand_up_streams
from nunet_node.errors import MisuseError, PeerError

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
OWN_FAILURE: Final = 125
"""For commands whose other codes are the job's: we failed, not the job."""

INTERRUPTED: Final = 130
UNKNOWN_JOB: Final = "job.unknown"
"""Code of the one answer to whoever asks for what is absent or not theirs."""

WRITTEN_WRONG: Final = frozenset(
    {"spec.file", "spec.inputs", "spec.quantity", "config.invalid", "link.malformed"}
)
"""Codes of errors in what a command was given: a file, a link or an amount."""

_DEBUG: Final = 2
_OPTIONS_WITH_VALUE: Final = frozenset({"--home"})
_GLOBAL_OPTIONS: Final = frozenset({"--home", "--json", "-v", "--verbose", "--version"})
_JOB_CODED: Final = frozenset({"submit", "wait"})
"""Commands that end with the job's own code."""

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("machine.node", "Run a node: offer this machine to the network."),
    "submit": ("submit", "Submit a job, watch it, and fetch its result."),
    "list": ("jobs.standing", "List the jobs submitted from this home."),
    "status": ("jobs.standing", "Say where a job stands, and why."),
    "wait": ("jobs.standing", "Wait for a job to end; exit with its code."),
    "logs": ("jobs.bringing", "Print what a job wrote."),
    "get": ("jobs.bringing", "Fetch and verify a job's result."),
    "cancel": ("jobs.standing", "Cancel a job and free what it held."),
    "nodes": ("machine.node", "Show who is on the network."),
    "share": ("trust.cap", "Let somebody else fetch a job's result."),
    "cap": ("trust.cap", "Give others a part of what you may do; take it back."),
    "receipt": ("trust.receipt", "Check a provider's receipt, offline."),
    "store": ("store.command", "Look after the blocks of this home; archives."),
    "did": ("identity", "Show, create, import and export identities."),
    "doctor": ("machine.doctor", "Say what this machine can run, and how safely."),
    "spec": ("spec", "Write and check job files."),
    "simulate": ("simulation.command", "Run thousands of nodes under virtual time."),
    "demo": ("demo.command", "Run a small network here and a real job on it."),
}

_JOINING: Final = frozenset(
    {"up", "submit", "status", "wait", "logs", "get", "cancel", "nodes"}
)
"""Commands that join the network, whatever they are asked."""


class _Commands(click.Group):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        name = f"nunet_node.cli.{_COMMANDS[cmd_name][0]}"
        module = load(name, joins=cmd_name in _JOINING)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, about) for name, (_, about) in _COMMANDS.items()]
            )


def _home(ctx: click.Context, param: click.Parameter, text: str | None) -> Path | None:
    """Read ``--home``; an empty word, as of an unset variable, names no directory."""
    if text == "":
        raise click.BadParameter("is empty; name a directory", ctx, param)
    return None if text is None else Path(text)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First job: nunet-node demo, or nunet-node submit SCRIPT.py",
)
@click.option(
    "--home",
    callback=_home,
    metavar="DIR",
    help="Where identities, jobs and results are kept. [default: NUNET_HOME, "
    "or this system's place for a user's data]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON documents only.")
@click.option("-v", "--verbose", count=True, help="Say more; -vv says everything.")
@click.version_option(nunet_node.__version__, prog_name="nunet-node")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, as_json: bool, verbose: int) -> None:  # noqa: FBT001 - click passes by name
    """Run jobs on other people's machines, and other people's jobs on yours.

    Every command ends by naming the next useful one.
    """
    ctx.obj = Settings(home=home, json=as_json, verbosity=verbose)
    _log_to_stderr(verbose)


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the time, as `click` does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        click.echo(self.format(record), err=True)


def _log_to_stderr(verbosity: int) -> None:
    levels = (logging.ERROR, logging.INFO, logging.DEBUG)
    handler = _StderrHandler(levels[min(verbosity, _DEBUG)])
    handler.set_name("nunet-node")
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    for known in [each for each in root.handlers if each.name == handler.name]:
        root.removeHandler(known)
    root.addHandler(handler)
    if verbosity:
        root.setLevel(handler.level)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    stand_up_streams()
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            forget(stream)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the command line and return its exit code; raises nothing."""
    settings, command = _glance(words)
    try:
        code = cli.main(list(words), prog_name="nunet-node", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        _show_help(settings, error)
        return USAGE
    except click.UsageError as error:
        _show_usage(settings, error)
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except BaseException as error:  # noqa: BLE001 - this is where every error ends
        return _ended(settings, command, error)
    return code if isinstance(code, int) else 0


def _glance(words: Sequence[str]) -> tuple[Settings, str]:
    """Find the output form and the command's name, even if the rest is wrong."""
    as_json, verbosity, skip = False, 0, False
    for word in words:
        if skip:
            skip = False
        elif not word.startswith("-"):
            return Settings(json=as_json, verbosity=verbosity), word
        else:
            as_json = as_json or word == "--json"
            verbosity += word.count("v") if word.strip("v") == "-" else 0
            skip = word in _OPTIONS_WITH_VALUE
    return Settings(json=as_json, verbosity=verbosity), ""


def _show_help(settings: Settings, error: click.UsageError) -> None:
    """Show what a group of commands has, to whoever named none of them."""
    path = error.ctx.command_path if error.ctx else "nunet-node"
    message = f"{path} needs a command (see {path} --help)"
    with contextlib.suppress(OSError):
        settings.document({"error": {"code": "usage", "message": message}})
    with contextlib.suppress(OSError):
        settings.note(error.format_message())


def _show_usage(settings: Settings, error: click.UsageError) -> None:
    message = error.format_message()
    wrong = getattr(error, "option_name", "")
    if wrong in _GLOBAL_OPTIONS:
        message = f"{wrong} stands before the command: nunet-node {wrong} …"
    path = error.ctx.command_path if error.ctx else "nunet-node"
    settings.fail("usage", f"{message} (see {path} --help)")


def _ended(settings: Settings, command: str, error: BaseException) -> int:
    """Print the one line for an error, and return its exit code."""
    error = _innermost(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if settings.verbosity >= _DEBUG:
        traceback.print_exception(error)
    settings.fail(*_sentence(error))
    if isinstance(error, PeerError) and error.code == UNKNOWN_JOB:
        return REFUSED
    if isinstance(error, PeerError) and error.code in WRITTEN_WRONG:
        return USAGE
    return OWN_FAILURE if command in _JOB_CODED else FAILED


def _innermost(error: BaseException) -> BaseException:
    """Return the first real error inside the groups that nurseries make."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _sentence(error: BaseException) -> tuple[str, str]:
    match error:
        case PeerError():
            return error.code, str(error)
        case click.ClickException():
            return "cli", error.format_message()
        case OSError():
            what = f"{error.filename}: " if error.filename else ""
            return "system", f"{what}{error.strerror or error}"
        case MisuseError():
            return "internal", f"this is a bug of nunet-node: {error}"
        case _:
            kind = type(error).__name__
            hint = "run with -vv to see where"
            return "internal", f"this is a bug of nunet-node: {kind}: {error}; {hint}"
