"""``ssl-eval report FOLDER...`` and ``ssl-eval watch FOLDER...``: the command line."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ssl_eval.output_stream import exit_code_of_output, protect_output
from ssl_eval.suggestion import did_you_mean

FOLDER = "a run, or a folder of runs at any depth, or wandb:entity/project"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the error in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None, prog: str = "ssl-eval") -> int:
    """Run the command and return its exit code.

    0: done; 2: wrong input (one line on stderr); 74: the output could not be written, e.g. to a full disk.
    """
    protect_output()
    parser = _Parser(prog=prog, description="From runs to the numbers, the table and the figure of a paper.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    report = commands.add_parser(
        "report",
        help="compare runs: tables, figures and a page",
        description="Write index.html, tables (md, tex, csv) and figures (png, pdf) over all runs in and under the folders.",
    )
    report.add_argument("folders", nargs="+", metavar="FOLDER", help=FOLDER)
    report.add_argument("--out", metavar="FOLDER", help="where to write (default: 'report' in the first folder)")
    live = commands.add_parser(
        "watch",
        help="show running experiments in the terminal",
        description="Show loss, accuracy, images per second and time left of all runs in and under the folders; Ctrl-C ends.",
    )
    live.add_argument("folders", nargs="+", metavar="FOLDER", help=FOLDER)
    live.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two updates (default: 2)")
    live.add_argument("--once", action="store_true", help="print once; the default without a terminal")
    chosen, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = (report if chosen.command == "report" else live)._option_string_actions
        hint = did_you_mean(unknown[0].partition("=")[0], known) or f"; see {prog} {chosen.command} --help"
        parser.exit(2, f"{prog} {chosen.command}: {unknown[0]}: unknown option{hint}\n")
    try:
        if chosen.command == "watch":
            from ssl_eval.watch import watch

            return exit_code_of_output(watch(chosen.folders, chosen.every, chosen.once))
        return exit_code_of_output(_report(chosen.folders, chosen.out))
    except (ValueError, ImportError) as error:
        problem = str(error)
    except OSError as error:
        problem = f"'{error.filename}': {error.strerror}" if error.filename else str(error)
    print(f"{prog} {chosen.command}: {problem}", file=sys.stderr)
    return 2


def _report(folders: Sequence[str], out: str | None) -> int:
    from ssl_eval.report.report import write_report  # it needs torch, which takes seconds

    report = write_report(folders, out)
    print("\n\n\n".join(table.to_text() for table in report.tables), end="\n\n")
    for file in report.files:
        print(file)
    for reason in report.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if report.no_figure:
        print(f"no figure: {report.no_figure}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
