"""``physioedge adapter``: look at the adapters of a person, go back, hold on to one, erase them all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from physioedge.cli.console import print_json, table
from physioedge.cli.storing import add_store_options, open_store
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.own_signal import named_bias, said_of
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import StoreError

_ACTIONS = {
    "status": "which adapter serves, which came before, what happened",
    "rollback": "go back to the adapter confirmed before, or to the global model",
    "pin": "keep the adapter in use whatever comes",
    "unpin": "let it change again",
    "unlevel": "take away the bias from the person's own signal that goes with what serves",
    "forget": "erase all that is of the person, and say what",
}
_EVENTS = 10


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "adapter",
        help="look at a person's adapters, go back, pin one, erase them",
        description="Look at the adapters of a person, or change which one serves. A store that a running device has "
        "open is refused. See docs/adapter.md.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        add_store_options(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "rollback":
            action.add_argument("--reason", default="asked for on the command line", help="for the history")


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when it was done."""
    if not args.store.is_dir():
        raise StoreError(f"no store at {args.store}", "the folder of one", "Check the path, or begin with `adapt`.")
    said: dict[str, Any] = {}
    with open_store(args, Bundle.open(args.bundle, trust=args.trust)) as store:
        found = list(store.problems)
        if found and args.action != "status" and not args.json:  # before anything is done, and also where it fails
            print("\n".join(_problem_lines(found)), file=sys.stderr)
        if args.action == "rollback":
            store.rollback(args.reason)
        elif args.action == "pin":
            store.pin()
        elif args.action == "unpin":
            store.unpin()
        elif args.action == "unlevel":
            store.keep_centring(None)
        elif args.action == "forget":
            forgotten = store.forget()
            said = {"forgotten": asdict(forgotten), "said": str(forgotten)}
        state = status_of(store)
    if args.json:
        print_json({"action": args.action, **said, **state})
    else:
        told = [] if args.action == "status" else found
        print("\n".join([*([said["said"]] if said else []), *_lines(state, told)]))
    return 0


def status_of(store: AdapterStore) -> dict[str, Any]:
    """Which adapter serves and what happened, as plain values."""
    serving = store.serving
    return {
        "serves": "global" if serving is None else serving.manifest.id,
        "digest": "" if serving is None else serving.digest,
        "bias": named_bias(store),
        "candidate": "" if store.candidate is None else store.candidate.manifest.id,
        "phase": store.phase,
        "pinned": store.pinned,
        "reverted_at_start": store.reverted_at_start,
        "problems": list(store.problems),
        "history": [asdict(event) for event in store.history],
    }


def _lines(state: dict[str, Any], told: Sequence[str] = ()) -> list[str]:
    """What to print of a store, without the problems that were told before."""
    digest = f" ({state['digest'][:16]})" if state["digest"] else ""
    lines = [f"serves: {state['serves']}{digest}{', pinned' if state['pinned'] else ''}"]
    if state["bias"]:
        lines.append(f"bias from the person's own signal: {said_of(state['bias'])}")
    if state["candidate"]:
        lines.append(f"candidate: {state['candidate']}, {state['phase']}")
    lines += _problem_lines([problem for problem in state["problems"] if problem not in told])
    rows = [(event["what"], event["id"] or "global", event["reason"]) for event in state["history"][-_EVENTS:]]
    return [*lines, table(["event", "adapter", "reason"], rows)] if rows else lines


def _problem_lines(problems: Sequence[str]) -> list[str]:
    hint = "An adapter that cannot be verified does not serve: are --device and --adapter-trust right?"
    return [*(f"problem: {problem}" for problem in problems), *([hint] if problems else [])]
