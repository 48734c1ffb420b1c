"""What goes in and out of the API, as pydantic has it; the OpenAPI page is made from this."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from hypernetworks.serve.limits import Limits
from hypernetworks.text.generate import Sampling


class RunInfo(BaseModel):
    """A run whose model makes text."""

    name: str
    network: str
    parameters: int
    unit: str = Field(description="What a step makes: a character or a byte.")
    alphabet: str = Field(description="The symbols that a prompt may have; empty where the unit is a byte.")
    gates: list[str] = Field(
        description="The gates whose weights are made anew at each step; empty: weights are fixed."
    )


class Runs(BaseModel):
    """What the server has, and the bounds on what may be asked of it."""

    runs: list[RunInfo]
    max_prompt: int
    max_length: int


class Health(BaseModel):
    """How the server is."""

    status: str = Field(description="ok, or stopped.")
    active: int = Field(description="Texts that are being made.")
    waiting: int = Field(description="Texts that wait for their turn.")


class ErrorMessage(BaseModel):
    """Why a request was refused, in one sentence."""

    detail: str


class TextRequest(BaseModel):
    """A text that is asked for; what `request_type` makes has the bounds of a server."""

    model_config = ConfigDict(strict=True, extra="forbid")

    run: str
    prompt: str
    temperature: float
    top_k: int
    length: int
    seed: int

    def sampling(self) -> Sampling:
        """How its characters are drawn."""
        return Sampling(self.length, self.temperature, self.top_k, seed=self.seed)


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def request_type(runs: Sequence[str], limits: Limits) -> type[TextRequest]:
    """The request with this server's runs, bounds and defaults."""
    default = Sampling()

    def bounded(kind: Any, value: Any, description: str, **bounds: Any) -> Any:
        bounded = Annotated[kind, Field(description=description, **bounds)]
        return Annotated[bounded, BeforeValidator(_whole)] if kind is int else bounded, value

    return create_model(
        "Generate",
        __base__=TextRequest,
        run=bounded(Literal[tuple(runs)], runs[0], "The name of a run."),
        prompt=bounded(str, "", "What the text goes on from; empty: a new line.", max_length=limits.max_prompt),
        temperature=bounded(
            float,
            default.temperature,
            "Below 1 more of what is probable, above 1 less; 0 always takes the most probable.",
            ge=0,
            le=100,
            allow_inf_nan=False,
        ),
        top_k=bounded(int, 0, "Draw from the k most probable characters only; 0: from all.", ge=0, le=1_000_000),
        length=bounded(int, min(default.length, limits.max_length), "Steps to make.", ge=1, le=limits.max_length),
        # beyond 2⁵³ JSON's numbers are not exact everywhere (RFC 8259, section 6): another seed would be drawn with
        seed=bounded(
            int, default.seed, "The same seed and settings draw with the same numbers.", gt=-(2**53), lt=2**53
        ),
    )
