"""The report in Chromium: its numbers are seen while pointing, and it can be printed from a dark screen."""

from dataclasses import replace

import torch

from hypernetworks.experiments.report import load_reported
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.generate import Sampling
from hypernetworks.text.report import page


def test_numbers_are_on_the_screen_and_dark_pages_are_printed_in_dark_ink(chromium, tiny, corpus, tmp_path):
    config = replace(tiny, schedule=replace(tiny.schedule, steps=2))
    folder = TEXT.train(tmp_path / "run", config, corpus, "tiny").folder
    source = page([load_reported(TEXT, folder, torch.device("cpu"))], Sampling(length=6000), None)
    shown = chromium.new_page(viewport={"width": 900, "height": 600}, color_scheme="dark")
    shown.set_content(source)
    letters = shown.locator(".letters").first
    assert letters.bounding_box()["height"] > 1200  # the end of the text is far below
    letters.locator("span").nth(5).hover()
    box = shown.locator("output").first.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 600
    assert "input gate i" in shown.locator("output").first.text_content()
    colours = (
        "x => [getComputedStyle(x).color, getComputedStyle(x).backgroundColor, getComputedStyle(x).printColorAdjust]"
    )
    ink, paper, _ = shown.locator("body").evaluate(colours)
    assert (ink, paper) == ("rgb(236, 236, 236)", "rgb(22, 24, 28)")
    shown.emulate_media(media="print", color_scheme="dark")
    ink, paper, _ = shown.locator("body").evaluate(colours)
    assert (ink, paper) == ("rgb(26, 26, 26)", "rgb(255, 255, 255)")
    assert letters.evaluate(colours)[2] == "exact"
    shown.close()
