"""The requests and responses of the API as pydantic models. The OpenAPI description is generated from them."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from hypernetworks.serve.limits import Limits
from hypernetworks.text.generate import Sampling


class RunInfo(BaseModel):
    """A run whose model generates text."""

    name: str
    network: str
    layers: int
    parameters: int
    unit: str = Field(description="What a step generates: a character, a byte, or a word or other character (word).")
    alphabet: str = Field(description="The characters that a prompt may contain; empty if the unit is a byte.")
    gates: list[str] = Field(
        description="The gates whose weights are generated at each step; empty if weights are fixed."
    )
    frozen_of: str | None = Field(
        description="The run whose model this is, with weights that do not move: every scale has its mean. Else null."
    )
    gate_names: list[str] = Field(description="The names of the gates, for example: input gate i.")


class Runs(BaseModel):
    """The runs of the server, and the bounds on requests."""

    runs: list[RunInfo]
    max_prompt: int
    max_length: int
    max_details: int


class Health(BaseModel):
    """The state of the server."""

    status: str = Field(description="ok, or stopped.")
    active: int = Field(description="Texts being generated.")
    waiting: int = Field(description="Texts in the queue.")


class ErrorMessage(BaseModel):
    """Why a request was refused, in one sentence."""

    detail: str


class ReadRequest(BaseModel):
    """A request to read a text. `read_type` makes a subclass with the bounds of a server."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    run: str
    prompt: str
    details: bool

    def sampling(self) -> Sampling | None:
        """None: nothing is generated."""
        return None


class TextRequest(ReadRequest):
    """A request for a text. `request_type` makes a subclass with the bounds of a server."""

    temperature: float
    top_k: int
    top_p: float
    length: int
    seed: int

    def sampling(self) -> Sampling:
        """The sampling settings."""
        return Sampling(self.length, self.temperature, self.top_k, self.top_p, self.seed)


def _whole(value: Any) -> Any:
    """Convert integral floats: JSON has one number type, in which 3.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bounded(kind: Any, value: Any, description: str, **bounds: Any) -> Any:
    """A setting with its default and bounds."""
    bounded = Annotated[kind, Field(description=description, **bounds)]
    return Annotated[bounded, BeforeValidator(_whole)] if kind is int else bounded, value


def _common(runs: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The settings that both requests have."""
    return {
        "run": _bounded(Literal[tuple(runs)], runs[0], "The name of a run."),
        "details": _bounded(
            bool,
            False,
            "Also stream the steps: probabilities, gates and scales, of the prompt and of at most "
            f"{limits.max_details} characters after it.",
        ),
    }


def read_type(runs: Sequence[str], limits: Limits) -> type[ReadRequest]:
    """Make the type of requests to read a text with this server's runs and bounds."""
    prompt = _bounded(str, ..., "The text to read.", min_length=1, max_length=limits.max_prompt)
    return create_model("Read", __base__=ReadRequest, prompt=prompt, **_common(runs, limits))


def request_type(runs: Sequence[str], limits: Limits) -> type[TextRequest]:
    """Make the request type with this server's runs, bounds and defaults."""
    default = Sampling()
    return create_model(
        "Generate",
        __base__=TextRequest,
        **_common(runs, limits),
        prompt=_bounded(str, "", "The text to continue; if empty, a newline.", max_length=limits.max_prompt),
        temperature=_bounded(
            float,
            default.temperature,
            "Below 1, probable characters become more frequent; above 1, less. 0 always takes the most probable.",
            ge=0,
            le=100,
            allow_inf_nan=False,
        ),
        top_k=_bounded(int, 0, "Draw from the k most probable characters only; 0 draws from all.", ge=0, le=1_000_000),
        top_p=_bounded(
            float,
            default.top_p,
            "Draw from the most probable characters that have this probability together.",
            gt=0,
            le=1,
        ),
        length=_bounded(int, min(default.length, limits.max_length), "Steps to generate.", ge=1, le=limits.max_length),
        # beyond 2⁵³ JSON numbers are not exact everywhere (RFC 8259, section 6), so the seed could change
        seed=_bounded(int, default.seed, "Equal seeds and settings give equal random numbers.", gt=-(2**53), lt=2**53),
    )


def query_type(runs: Sequence[str], limits: Limits) -> type[TextRequest]:
    """Make the request type of a query, in which every value is a string."""
    base = request_type(runs, limits)
    return type("GenerateQuery", (base,), {"model_config": ConfigDict(strict=False), "__doc__": base.__doc__})
