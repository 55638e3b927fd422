"""What a learning agent is: algorithm, view, network and what goes around them; no torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.index.parameters import shipped
from agents.rl.extras import ConstraintSettings, ImitateSettings
from agents.rl.labels import CLONED
from fleet_env.checks import in_range, one_of, require

# view -> algorithms that can act through it
ALGORITHMS = {
    "index": ("ppo", "sac", "tqc", "recurrent_ppo"),
    "tuned": ("ppo", "sac", "tqc", "recurrent_ppo"),
    "cohort": ("ppo", "sac", "tqc", "recurrent_ppo"),
    "cars": ("ppo", "maskable_ppo"),
    "fleet": ("ppo",),  # its policy minds the mask itself
    "bits": ("ppo", "maskable_ppo"),
}
VIEWS = tuple(ALGORITHMS)
SQUASHED = ("sac", "tqc")  # algorithms whose actions are tanh of a Gaussian
ACTIVATIONS = ("tanh", "relu")
INITS = ("none", "few", "tuned_index")
MAX_WIDTH = 4096  # of a layer: a slip of the pen above it


@dataclass
class AgentSettings:
    """One option of the group `agent`.

    Views are those of docs/views.md: ``index`` and ``cohort``; ``tuned``, the parameters of a tuned
    index; ``cars``, every car a row; ``fleet``
    for a network over the set of cars; ``bits``, one bit a car from a flat network, the negative
    control. The last two act on `fleet_env/Fleet-v0`.
    """

    name: str = "ppo_index"  # of the policy in tables and files
    algorithm: str = "ppo"  # ppo | sac | tqc | recurrent_ppo | maskable_ppo
    view: str = "index"  # index | tuned | cohort | cars | fleet | bits
    num_fleets: int = 64  # side by side, split evenly between the cards
    num_cars: int = 256  # of each fleet
    # fleets that play the same day, each paid what it earns more than the others: less of the luck
    # of the day in what is learned from; see `agents.rl.paired`
    copies: int = 1
    gamma: float = 0.99  # below 1, as values go on beyond the horizon; scores are not discounted
    net: list[int] = field(default_factory=lambda: [64, 64])  # hidden layers; SB3's default
    activation: str = "tanh"  # tanh | relu
    normalize_obs: bool = True  # by running mean and variance (VecNormalize), clipped at 10
    normalize_reward: bool = True  # by the running deviation of the discounted return
    torch_threads: int = 1
    # of the fresh policy: none: as SB3 does, with half of the feasible cars on duty | few: a tenth
    # of them | tuned_index: it ranks cars as the tuned index does
    init: str = "none"
    # tuned index of `init` and `imitate`: a shipped name or a path that ends in .yaml; none named:
    # each card's own, where one is shipped, else that of the suburb
    index: str = ""
    # keyword arguments of the class of Stable-Baselines3, such as n_steps and batch_size
    options: dict[str, Any] = field(default_factory=dict)
    imitate: ImitateSettings = field(default_factory=ImitateSettings)
    constraint: ConstraintSettings = field(default_factory=ConstraintSettings)

    def __post_init__(self) -> None:
        one_of(self, "agent.", view=VIEWS, activation=ACTIVATIONS, init=INITS)
        able = ALGORITHMS[self.view]
        expected = f"{' or '.join(able)} (agent.view={self.view})"
        require(self.algorithm in able, "agent.algorithm", self.algorithm, expected)
        in_range(
            self,
            "agent.",
            num_fleets=(1, 100_000),
            copies=(1, 1000),
            num_cars=(1, 1_000_000),
            gamma=(0.0, 1.0),
            torch_threads=(1, 1024),
        )
        whole = f"a divisor of agent.num_fleets={self.num_fleets}"
        require(self.num_fleets % self.copies == 0, "agent.copies", self.copies, whole)
        for width in self.net:
            ok = isinstance(width, int) and 1 <= width <= MAX_WIDTH
            require(ok, "agent.net", self.net, f"widths of layers, 1 to {MAX_WIDTH}")
        scaled = self.view == "fleet" and self.normalize_obs
        require(not scaled, "agent.normalize_obs", value=True, expected=_SCALED)
        if self.view not in ("index", "tuned"):
            known = "none or few (agent.view is neither index nor tuned)"
            require(self.init != "tuned_index", "agent.init", self.init, known)
        if self.view == "tuned":
            known = "none or tuned_index (agent.view=tuned says no share of cars)"
            require(self.init != "few", "agent.init", self.init, known)
        if self.view not in CLONED or self.algorithm != "ppo":
            rounds, views = self.imitate.rounds, " or ".join(CLONED)
            expected = f"0 (only ppo on view {views} imitates)"
            require(rounds == 0, "agent.imitate.rounds", rounds, expected)

    def index_of(self, card: str) -> str:
        """Name the tuned index that goes with a card."""
        return self.index or (card if card in shipped() else "suburb")


_SCALED = "False (agent.view=fleet scales its numbers itself, the same for every car)"
