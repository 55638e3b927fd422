"""Trained policies of the package: every file in `files` is a policy by the name of its stem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

from agents.learned.policy import Learned
from agents.learned.policy_file import SUFFIX, read_card

FILES = Path(__file__).with_name("files")
_SUMMARY = "from a summary of the fleet"
_KINDS = {
    "index": f"A network sets the weights of the index and the share on duty, {_SUMMARY}.",
    "tuned": f"A network sets the parameters of a tuned index in every step, {_SUMMARY}.",
    "cohort": f"A network sets the share on duty of each cohort of like cars, {_SUMMARY}.",
    "cars": "One network for all cars: each decides by itself, from what it and its fleet look "
    "like.",
    "set": "One network scores every car by itself and by what all feasible cars look like.",
}
# of `training` on a card and its `validation`, as `fleet train` writes them
_TOLD = {
    "name": "fleet train agent={name}",
    "steps": "{steps:,} steps",
    "cards": "on {cards}",
    "changed": "where {changed}",
    "num_cars": "fleets of {num_cars} cars",
    "seed": "seed {seed}",
    "date": "{date}",
    "validation/usd": "{validation/usd:+.2f} USD per car-month on validation days",
    "validation/score": "score {validation/score:.2f}",
}
_NETWORKS = {"mlp": "", "lstm": " It remembers the steps before (LSTM).", "set": ""}


def shipped(folder: Path = FILES) -> dict[str, type[Learned]]:
    """Policy class of every file in a folder, by name.

    Raises
    ------
    PolicyFileError
        If a file cannot be read. Whether it fits is asked when the policy is made.
    """
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return {file.stem: _policy_of(file) for file in files}


def _policy_of(file: Path) -> type[Learned]:
    """Build the class of a shipped policy: its file is no setting."""
    card = read_card(file)
    said = {
        "name": file.stem,
        "source": how_trained(card),
        "__doc__": _KINDS.get(str(card.get("kind")), "A trained network.")
        + _NETWORKS.get(str(card.get("network")), ""),
        "__module__": __name__,
    }
    fixed = ("file", str, field(init=False, default=str(file)))
    title = "".join(word.capitalize() for word in file.stem.split("_"))
    return make_dataclass(
        title, [fixed], bases=(Learned,), namespace=said, frozen=True, kw_only=True
    )


def how_trained(card: Mapping[str, Any]) -> str:
    """Say in a line what the card tells of the training, as far as it does."""
    training = card.get("training", {})
    told = {**training.get("validation", {}), **training, "name": card.get("name", "")}
    told["cards"] = ", ".join(training.get("cards", ()))
    changed = training.get("changed", {}).items()
    told["changed"] = " and ".join(f"{key} is {value}" for key, value in changed)
    return ", ".join(text.format(**told) for key, text in _TOLD.items() if told.get(key, "") != "")
