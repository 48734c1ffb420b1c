"""The API fuzzed from its OpenAPI description: every response is documented, and none is a 5xx."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from hypernetworks.serve.limits import Limits

from .clients import make_batch, serving

MODES = {"valid": schemathesis.GenerationMode.POSITIVE, "invalid": schemathesis.GenerationMode.NEGATIVE}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(make_batch("lstm"), make_batch("hyper-gru"), limits=Limits(max_prompt=40, max_length=30)) as address:
        yield address
        assert httpx.get(f"{address}/health").json() == {"status": "ok", "active": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("path", "method", "mode", "examples"),
    [
        ("/api/generate", "post", "valid", 40),
        ("/api/generate", "post", "invalid", 40),
        ("/api/generate", "get", "valid", 20),
        ("/api/generate", "get", "invalid", 20),
        ("/api/read", "post", "valid", 20),
        ("/api/read", "post", "invalid", 20),
        ("/api/runs", "get", "valid", 5),
        ("/health", "get", "valid", 5),
    ],
)
def test_answers_are_the_documented_ones(address: str, path: str, method: str, mode: str, examples: int) -> None:
    operation = schemathesis.openapi.from_url(f"{address}/openapi.json")[path][method]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=MODES[mode]))
    def check(case: Any) -> None:
        # these two expectations are checked below: the schema does not have the alphabet, and 413 is a refusal, too
        excluded = [positive_data_acceptance, negative_data_rejection]
        answer = case.call_and_validate(base_url=address, excluded_checks=excluded)
        if mode == "invalid":
            assert 400 <= answer.status_code < 500
        elif answer.status_code != 200:
            assert answer.status_code == 422
            assert "characters that the alphabet lacks" in answer.json()["detail"]

    check()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=2000))
def test_any_bytes_are_refused_with_a_sentence(address: str, body: bytes) -> None:
    answer = httpx.post(f"{address}/api/generate", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.status_code == 413 or set(answer.json()) == {"detail"}
