"""`fleet watch`: one day of one policy as a page to look at, and as a moving picture."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from agents import registry
from experiments import deck, report, schema
from experiments.records import RunFolder
from experiments.settings import WatchSettings
from experiments.watch.gif import Gif
from experiments.watch.page import write_page
from experiments.watch.record import DayRecord, record_day

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="watch")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, WatchSettings, watch)


def watch(settings: WatchSettings, out: Path) -> DayRecord:
    """Play one day; write the page, and with `gif` the moving picture.

    Parameters
    ----------
    settings : WatchSettings
        Its `first_episode` is the day.
    out : Path
        Receives watch.html, with `gif` also watch.gif, and manifest.json.
    """
    policy = registry.make(settings.policy.name, **settings.policy.options)
    folder = RunFolder.open(out, "watch", schema.plain(settings))
    gif = Gif() if settings.gif else None
    split, day = settings.split, settings.first_episode
    card = deck.small(settings.env, settings.max_cars)
    record = record_day(card, policy, day, split, settings.seed, gif)
    write_page(record, out / "watch.html")
    if gif is not None:
        gif.save(out / "watch.gif")
    folder.close()
    report.console().print(f"page: {out / 'watch.html'}", soft_wrap=True, highlight=False)
    return record


if __name__ == "__main__":
    main()
