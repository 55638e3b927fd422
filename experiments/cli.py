"""`fleet <verb>`: hands the command line to the verb, and turns errors into one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from agents import registry
from experiments.nearest import nearest
from experiments.schema import ROOTS, VerbError, agent_names, setting_keys
from experiments.signals import InterruptedBySignal

VERBS = {
    "compare": "every rule on the same test days, on one card or on all (cards=all)",
    "cards": "the scenario cards and a quick run of each",
    "agents": "the policies: what each does, its source and its settings",
    "evaluate": "one policy on the test days: fleet evaluate policy=NAME",
    "report": "tables, figures and page of runs, anew from their records: fleet report FOLDER ...",
    "watch": "one day of a policy to look at, as a page: fleet watch policy=NAME",
    "bound": "how good could anyone be: bounds day by day, and what of them is relaxation",
    "study": "change settings in turn: fleet study ablation; headroom; viability (is it worth it)",
    "train": "train a policy: fleet train agent=ppo_index; go on: fleet train resume=FOLDER",
    "tune": "search constants: of a rule (agent=index), of a learner (agent=ppo_index)",
    "bench": "steps per second of this machine; of a training: fleet bench train",
}
WRONG, INTERRUPTED = 2, 130  # exit status
# package -> extra of fleet-env that brings it; all other verbs do with `cli`
EXTRAS = {"torch": "rl", "stable_baselines3": "rl", "sb3_contrib": "rl", "optuna": "sweep"}
# the flags Hydra documents
FLAGS = (
    *("--help", "-h", "--multirun", "-m", "--run", "-r", "--cfg", "-c", "--resolve", "--package"),
    *("-p", "--info", "-i", "--version", "--hydra-help", "--config-dir", "-cd"),
    *("--shell-completion", "-sc"),
)


def usage() -> str:
    """List the verbs."""
    verbs = "\n".join(f"  {name:<10}{text}" for name, text in VERBS.items())
    return (
        "usage: fleet VERB [group=option] [key=value] [-m]\n\n"
        f"{verbs}\n\n"
        "`fleet VERB --help` lists the groups and settings of a verb.\n"
        "Example: fleet compare env=suburb num_episodes=5 env.num_cars=200"
    )


def main() -> None:
    """Run the verb named first on the command line.

    Leaves with status 0, with 2 and one line on what is wrong, or when interrupted with 130 (143
    by SIGTERM, which a training minds).
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        sys.stdout.write(usage() + "\n")
        raise SystemExit(0 if arguments else WRONG)
    try:
        verb, rest = check(arguments)
    except ValueError as error:
        raise SystemExit(_complain(str(error))) from None
    sys.argv = [f"fleet {verb}", *rest]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, instead of printing its own report
    try:
        import_module(f"experiments.verbs.{verb}").main()
    except BrokenPipeError:  # `fleet compare --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no second error at exit
        raise SystemExit(1) from None
    except VerbError as stopped:
        raise SystemExit(_stop(stopped, verb, debug="debug=true" in rest)) from None
    except Exception as error:  # while the settings are composed
        raise SystemExit(_complain(explain(error, verb))) from None


def _stop(stopped: VerbError, verb: str, *, debug: bool) -> int:
    reason = stopped.__cause__ or stopped
    if isinstance(reason, KeyboardInterrupt):
        folder, again = os.path.relpath(stopped.folder), "resume" if verb == "train" else "out"
        _complain(f"interrupted; what is finished stays in {folder}: go on with {again}={folder}")
        return reason.status if isinstance(reason, InterruptedBySignal) else INTERRUPTED
    if debug:
        raise reason from None
    return _complain(explain(reason, verb))


def _complain(text: str) -> int:
    sys.stderr.write(f"fleet: {text}\n")
    return WRONG


def check(arguments: list[str]) -> tuple[str, list[str]]:
    """Split a command line into verb and settings, before Hydra sees it.

    `fleet study NAME` is short for `fleet study study=NAME`, `fleet report A B` for
    `fleet report runs=[A,B]`; `fleet bench train`, `fleet study viability` and `fleet tune
    agent=LEARNER` have settings of their own.

    Raises
    ------
    ValueError
        If the verb or a flag does not exist; with the nearest one.
    """
    verb, *rest = arguments
    # `policy.file=` is short for `policy.options.file=`
    rest = [re.sub(r"^(\+*policy)\.(?!options\.|name=)", r"\1.options.", each) for each in rest]
    if verb not in VERBS:
        raise ValueError(f"{verb}: no such verb{nearest(verb, list(VERBS))} ({', '.join(VERBS)})")
    if verb == "study" and rest and re.fullmatch(r"\w+", rest[0]):
        rest[0] = f"study={rest[0]}"
    if verb == "report":
        rest = _folders(rest)
    for argument in rest:
        flag = argument.partition("=")[0]
        if flag.startswith("-") and flag not in FLAGS:
            raise ValueError(f"{flag}: no such option{nearest(flag, list(FLAGS))}")
    return _module(verb, rest)


def _folders(rest: list[str]) -> list[str]:
    """Gather the folders of `fleet report A B` into one setting."""
    runs = [each for each in rest if "=" not in each and not each.startswith("-")]
    others = [each for each in rest if each not in runs]
    quoted = ",".join("'" + run.replace("\\", "\\\\").replace("'", "\\'") + "'" for run in runs)
    return [*others, f"runs=[{quoted}]"] if runs else others


def _module(verb: str, rest: list[str]) -> tuple[str, list[str]]:
    """Name the module of a verb and what is left for it."""
    if verb == "bench" and rest[:1] == ["train"]:
        verb, rest = "bench_train", rest[1:]
    if verb == "study" and rest[:1] == ["study=viability"]:
        verb, rest = "viability", rest[1:]
    learners = agent_names()
    asked = [name for each in rest if each.startswith("agent=") for name in each[6:].split(",")]
    if verb == "tune" and set(asked).intersection(learners):
        return "tune_agent", rest
    if verb in ("train", "bench_train") and "agent=index" in rest:
        listed = ", ".join(learners)
        raise ValueError(f"agent=index: a rule, for fleet tune; learners are {listed}")
    return verb, rest


def explain(error: BaseException, verb: str) -> str:
    """Say in one line what is wrong with a command, with the nearest valid name for a typo."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        known = [name for name in error.options if not name.endswith("_schema")]
        options = f" ({', '.join(known)})"
        return f"{group}={option}: no such option{nearest(option, known)}{options}"
    if isinstance(error, ConfigCompositionException):
        unknown = re.search(r"Could not override '@?([^']+)'", str(error))
        if unknown:
            key = unknown[1]
            return f"{key}: no such setting of {verb}{nearest(key, list(_keys(verb)))}"
        if error.__cause__ is not None:
            return explain(error.__cause__, verb)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form key=value"
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {_first_line(error)}" if error.full_key else _first_line(error)
    if isinstance(error, ValueError):
        return _first_line(error)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        extra = EXTRAS[error.name]
        return f"{verb}: {error.name} is not installed; pip install 'fleet-env[{extra}]'"
    return f"{type(error).__name__}: {_first_line(error)} (debug=true shows the traceback)"


def _keys(verb: str) -> Iterator[str]:
    yield from setting_keys(ROOTS[verb])
    if verb in ("evaluate", "watch"):
        for name in registry.all_names():
            yield from (f"policy.options.{key}" for key in registry.setting_names(name))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main()
