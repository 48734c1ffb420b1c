// The page of strokes: what the user draws goes to the model, and what it adds comes back.

import { FULL, file, showDrawing, showGiven } from "./ink.js";
import { current, fill, number, offer, say, silence, speak } from "./language.js";
import { pad } from "./pad.js";
import { ask, Problem } from "./requests.js";

const $ = (id) => document.getElementById(id);
const headers = () => ($("token").value ? { Authorization: `Bearer ${$("token").value}` } : {});
let about = null;
let running = null; // ends the drawing that is shown now

const sheet = pad($("paper"), $("pen"), () => {
  running?.abort();
  silence($("status"));
  showGiven($("ink"), sheet.strokes);
  update();
});

function update() {
  $("undo").disabled = $("clear").disabled = !sheet.strokes.length;
  const saved = $("ink").children.length > 0;
  $("save").hidden = !saved;
  if (saved) $("save").href = `data:image/svg+xml,${encodeURIComponent(file($("paper"), about?.attribution ?? ""))}`;
}

const addedStrokes = ({ points, given }) => points.slice(given).filter(({ lifted }, k, all) => lifted || k === all.length - 1).length;

async function finish() {
  running?.abort();
  const own = (running = new AbortController());
  silence($("problem"));
  say($("status"), "drawing");
  const body = JSON.stringify({
    strokes: sheet.strokes,
    unfinished: $("unfinished").checked && sheet.strokes.length > 0,
    temperature: Number($("temperature").value),
    seed: Number($("seed").value),
  });
  const options = { method: "POST", body, signal: own.signal };
  try {
    const answer = await ask("api/draw", () => ({ ...headers(), "Content-Type": "application/json" }), options);
    const drawing = await answer.json();
    if (own.signal.aborted) return;
    $("ink").replaceChildren();
    await showDrawing($("ink"), drawing, own.signal);
    if (own.signal.aborted) return;
    const added = addedStrokes(drawing);
    say($("status"), !added ? "nothing" : drawing.ended ? "done" : "cut", () => number(added));
    update();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem;
    silence($("status"));
    $("token-field").hidden &&= !problem.key.startsWith("token");
    say($("problem"), problem.key, ...problem.values);
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  finish();
});
$("again").addEventListener("click", () => {
  $("seed").value = Number($("seed").value) + 1;
  finish();
});
$("undo").addEventListener("click", () => sheet.undo());
$("clear").addEventListener("click", () => sheet.clear());
$("paper").addEventListener("keydown", (event) => {
  if (event.key === "Enter") finish();
  else if (event.key === "Backspace") sheet.undo();
  else return;
  event.preventDefault();
});
const showTemperature = () => ($("temperature-shown").value = number(Number($("temperature").value)));
$("temperature").addEventListener("input", showTemperature);

fill(document);
speak(navigator.languages);
offer($("language"), showTemperature);
$("language").value = current();
showTemperature();
update();
try {
  about = await (await ask("api/about", headers)).json();
  document.querySelector(".legend").hidden = $("moves").hidden = !about.moves;
  say($("much"), "much", () => `${number(100 * FULL)} %`);
  say($("about"), "about", about.name, about.network, () => number(about.parameters));
  $("about").append(` ${about.attribution}`);
} catch (problem) {
  if (!(problem instanceof Problem)) throw problem;
  $("token-field").hidden = !problem.key.startsWith("token");
  say($("problem"), problem.key, ...problem.values);
}
