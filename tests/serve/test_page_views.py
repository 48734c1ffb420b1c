"""What the page shows of a text, in Chromium: colours, diagram, player, kinds of characters, frozen weights, files, address."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.serve.frozen import with_frozen
from hypernetworks.text.alphabet import encode
from hypernetworks.text.coloured import coloured_text
from hypernetworks.text.generate import Sampling, generate

from .browsing import changes, expect, fill, opened, shown, write
from .clients import SYMBOLS, make_batch, serving


def test_the_colour_of_a_character_is_the_change_of_the_step_that_wrote_it(page: Any, batches: tuple[Any, Any]) -> None:
    """The numbers are those that `text strips` and the report have for the same text, and so has the prompt its colours."""
    write(page, Prompt="ab", Length=40, Seed=5)
    symbols, model = batches[0].symbols, batches[0].model
    ids = encode("ab" + shown(page, 0), symbols.alphabet)
    for found, letter in zip(changes(page, 0), coloured_text(model, symbols, ids), strict=True):
        assert found == pytest.approx(letter.changes, rel=2e-3)


def test_numbers_are_there_by_keyboard_and_pointer(page: Any) -> None:
    write(page, Prompt="ab", Length=60)
    text, numbers = page.locator(".text").first, page.locator(".change").first
    text.press("ArrowRight")
    expect(numbers).to_have_text("1: a: no step before it")
    text.press("ArrowRight")
    expect(numbers).to_have_text(re.compile("^2: Read a, expecting b — weights changed: "))
    text.press("ArrowRight")
    match = re.fullmatch(
        r"3: Read b, wrote .+ — weights changed: i (\S+) %, f (\S+) %, g (\S+) %, o (\S+) %", numbers.text_content()
    )
    assert match is not None
    assert [float(number) / 100 for number in match.groups()] == pytest.approx(changes(page, 0)[2], rel=0.06)
    text.press("End")
    expect(numbers).to_have_text(re.compile("^62: "))
    text.locator("span").nth(31).hover()
    expect(numbers).to_have_text(re.compile("^32: "))


def test_the_diagram_follows_the_character(page: Any) -> None:
    """The one that was written last, then the one that is pointed at: what its step read, wrote and changed."""
    write(page, Prompt="ab", Length=60)
    diagram = page.get_by_role("group", name="The step of the current character")
    names = {"\n": "end of line", " ": "space"}
    text = "ab" + shown(page, 0)
    for k in (61, 2, 1):
        if k < 61:
            page.locator(".text").first.locator("span").nth(k).hover()
        expect(diagram.locator(".wrote")).to_have_text(names.get(text[k], text[k]))
        expect(diagram.locator(".read")).to_have_text(names.get(text[k - 1], text[k - 1]))
        numbers = [
            float(each.removesuffix(" %")) / 100 for each in diagram.locator(".rows .number").all_text_contents()
        ]
        assert numbers == pytest.approx(changes(page, 0)[k], rel=0.06)


def test_the_marked_character_is_the_one_whose_step_is_shown(page: Any) -> None:
    fill(page, Prompt="ab", Length=30)
    expect(page.locator(".typed .here")).to_have_text("b")
    page.get_by_role("button", name="Write").click()
    expect(page.locator(".status").first).to_contain_text("Finished")
    expect(page.locator(".here")).to_have_count(0)  # the diagram has followed the text
    page.locator(".text").first.locator("span").nth(5).hover()
    expect(page.locator(".here")).to_have_count(1)


def test_the_player_moves_through_the_text(page: Any) -> None:
    player = page.get_by_role("group", name="Move through the text")
    expect(player).to_be_hidden()
    write(page, Prompt="ab", Length=60)
    slider, numbers = player.get_by_role("slider"), page.locator(".change").first
    expect(slider).to_have_value("61")
    slider.fill("30")
    expect(numbers).to_have_text(re.compile("^31: "))
    player.get_by_role("button", name="Next character").click()
    expect(numbers).to_have_text(re.compile("^32: "))
    player.get_by_role("button", name="Previous character").click()
    expect(slider).to_have_value("30")
    player.get_by_label("Speed").select_option("fast")
    player.get_by_role("button", name="Play").click()
    expect(numbers).to_have_text(re.compile("^4[0-9]: "))
    player.get_by_role("button", name="Pause").click()
    stopped = numbers.text_content()
    page.wait_for_timeout(300)
    assert numbers.text_content() == stopped
    player.get_by_role("button", name="Play").click()
    expect(numbers).to_have_text(re.compile("^62: "))
    expect(player.get_by_role("button", name="Play")).to_be_visible()  # it stops at the end


def test_the_mean_change_of_each_kind_of_character_is_there(page: Any) -> None:
    expect(page.locator(".kinds").first).to_be_hidden()  # nothing is written yet
    write(page, Prompt="ab cd\n\nef", Length=80, Temperature=3)
    table = page.locator(".kinds table").first
    characters = "ab cd\n\nef" + shown(page, 0)
    sums: dict[str, list[list[float]]] = {}
    for k, change in enumerate(changes(page, 0)):
        letter = "later letter" if k and characters[k - 1].isalpha() else "first letter"
        kind = {" ": "space", "\n": "end of line"}.get(characters[k], letter)
        if change and k >= len("ab cd\n\nef"):  # what was written
            sums.setdefault(kind, []).append(change)
    rows = [row.locator("td").all_text_contents() for row in table.locator("tr").all()[1:]]
    assert [row[0] for row in rows] == [
        kind for kind in ("first letter", "later letter", "space", "end of line") if kind in sums
    ]
    for kind, count, *means in rows:
        assert int(count) == len(sums[kind])
        expected = [sum(gate) / len(sums[kind]) for gate in zip(*sums[kind], strict=True)]
        assert [float(mean.removesuffix(" %")) / 100 for mean in means] == pytest.approx(expected, rel=0.06)
    expect(page.locator(".kinds").last).to_be_hidden()


def test_texts_are_saved_with_their_changes(page: Any) -> None:
    write(page, Prompt="a\n", Length=30, Seed=2)
    saved: dict[str, str] = {}
    for form in ("JSON", "CSV"):
        with page.expect_download() as download:
            page.get_by_role("button", name=form).first.click()
        assert download.value.suggested_filename == f"run.{form.lower()}"
        saved[form] = Path(download.value.path()).read_bytes().decode()
    whole = json.loads(saved["JSON"])
    assert whole["text"] == "a\n" + shown(page, 0)
    assert (whole["run"], whole["gates"], whole["settings"]["seed"]) == ("run", ["i", "f", "g", "o"], 2)
    assert [each or [] for each in whole["changes"]] == changes(page, 0)
    assert len(whole["steps"]) == len(whole["text"])
    head, *rows = csv.reader(io.StringIO(saved["CSV"], newline=""))
    assert head == ["character", "code_point", "probability", "i", "f", "g", "o"]
    assert "".join(row[0] for row in rows) == whole["text"]
    assert [[float(number) for number in row[3:] if number] for row in rows] == changes(page, 0)
    assert [row[2] and float(row[2]) for row in rows] == [
        step["probability"] if step else "" for step in whole["steps"]
    ]


def test_the_text_is_copied_with_its_prompt(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write(page, Prompt="a\n\nb", Length=30, Seed=2)
    page.get_by_role("button", name="Copy the text").first.click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == "a\n\nb" + shown(page, 0)
    write(page, Prompt="a", Length=5)
    expect(page.get_by_role("button", name="Copied")).to_have_count(0)


def test_the_address_has_the_settings_and_never_the_token(chromium: Any, address: str) -> None:
    page = opened(chromium, f"{address}/#token=s3cret&seed=7&prompt=ab%0Ac")
    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.get_by_label("Prompt")).to_have_value("ab\nc")
    assert "s3cret" not in page.url
    page.get_by_label("Colour").select_option("f")
    write(page, Length=12)
    assert "length=12" in page.url
    assert "s3cret" not in page.url
    again = opened(chromium, page.url)
    expect(again.get_by_label("Colour")).to_have_value("f")
    write(again)
    assert shown(again, 0) == shown(page, 0)
    again.close()
    page.close()


def test_all_runs_share_one_scale_with_numbers(chromium: Any) -> None:
    """From 0 to the change that 95 % of the shown ones do not reach: of all gates in strips, or of the gate that is chosen."""
    with serving(make_batch("hyper-lstm"), make_batch("hyper-gru")) as address:
        page = opened(chromium, address)
        write(page, Prompt="ab", Length=80)
        both = [*changes(page, 0)[1:], *changes(page, 1)[1:]]
        legend = page.locator(".legend")

        def end(choice: str) -> float:
            page.get_by_label("Colour").select_option(choice)
            match = re.fullmatch(r"0 % (\S+) % and more", " ".join(legend.text_content().split()))
            assert match is not None
            return float(match[1].replace(",", "")) / 100

        all_of_them = sorted(change for each in both for change in each)
        assert end("every gate, in strips") == pytest.approx(all_of_them[int(0.95 * len(all_of_them))], rel=0.06)
        of_f = sorted(each[1] for each in both if len(each) == 4)
        assert end("forget gate f") == pytest.approx(of_f[int(0.95 * len(of_f))], rel=0.06)
        colours = [
            page.locator(".text").nth(run).locator("span").nth(20).evaluate("x => getComputedStyle(x).background")
            for run in (0, 1)
        ]
        assert "gradient" not in colours[0]
        page.get_by_label("Colour").select_option("every gate, in strips")
        strips = [
            page.locator(".text").nth(run).locator("span").nth(20).evaluate("x => getComputedStyle(x).backgroundImage")
            for run in (0, 1)
        ]
        assert [strip.count("gradient") for strip in strips] == [4, 3]
        page.close()


def test_the_frozen_run_is_written_next_to_its_own_with_the_same_seed(chromium: Any) -> None:
    """Its text is that of the model whose scales have their mean, and its weights do not move."""
    batch = make_batch("hyper-lstm")
    with torch.no_grad():
        batch.model.network.cell(0).hyper.P.mul_(200)  # weights that move enough to write something else
    frozen = with_frozen("run", batch)
    with serving(*frozen.values(), names=list(frozen)) as address:
        page = opened(chromium, address)
        expect(page.locator("section")).to_have_count(2)
        expect(page.locator("section").last).to_be_hidden()
        fill(page, Prompt="ab", Length=40, Temperature=2)
        page.get_by_role("button", name="Write").click()
        expect(page.locator(".status").first).to_contain_text("Finished")
        page.get_by_label("Freeze the weights").check()
        expect(page.locator(".status").last).to_contain_text("Finished: 40")
        model = frozen["run, frozen"].model
        expected = "".join(generate(model, SYMBOLS.alphabet, "character", "ab", Sampling(40, 2.0)))
        assert shown(page, 1) == expected != shown(page, 0)
        assert all(change == 0 for each in changes(page, 1) for change in each)
        expect(page.locator("#reading")).to_have_text(
            re.compile(r": run [\d.]+, and [\d.]+ if its weights are frozen\.$")
        )
        page.get_by_label("Language").select_option("zh")
        assert page.locator("h2").all_text_contents() == ["run", "run（冻结权重）"]
        page.get_by_label("语言").select_option("en")
        assert page.locator("h2").all_text_contents() == ["run", "run, frozen"]
        again = opened(chromium, page.url)
        expect(again.get_by_label("Freeze the weights")).to_be_checked()
        expect(again.locator("section").last).to_be_visible()
        again.close()
        page.get_by_label("Freeze the weights").uncheck()
        expect(page.locator("section").last).to_be_hidden()
        assert "freeze" not in page.url
        page.close()


def test_runs_with_fixed_weights_alone_are_not_said_to_change(chromium: Any, batches: tuple[Any, Any]) -> None:
    with serving(batches[1]) as address:
        page = opened(chromium, address)
        expect(page.locator(".lead")).to_contain_text("the same weights at every character")
        page.close()
