// The page: its settings, its runs, and writing and stopping. Texts are in text.js, their colours in colours.js.

import { Colours } from "./colours.js";
import { Diagram } from "./diagram.js";
import { Player } from "./player.js";
import { ask } from "./requests.js";
import { Text } from "./text.js";

const byId = (id) => document.getElementById(id);
const form = byId("form"), prompt = byId("prompt"), length = byId("length"), stop = byId("stop"), token = byId("token");
const colours = new Colours(byId("gate"), byId("full"));
const diagram = new Diagram(byId("diagram"));
const player = new Player(byId("player"));
let runs = null; // the promise of the texts of all runs
let writing = null; // the AbortController of the texts that are being generated

const SETTINGS = ["prompt", "temperature", "top_k", "top_p", "length", "seed"];

// The address has the settings after #, so that it can be sent to others. A token in it is taken, and removed at once.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of SETTINGS) if (given.has(name)) byId(name).value = given.get(name);
  token.value = given.get("token") ?? "";
  if (!given.has("token")) return;
  given.delete("token");
  history.replaceState(null, "", `#${given}`);
}

function headers() {
  return { "Content-Type": "application/json", ...(token.value && { Authorization: `Bearer ${token.value}` }) };
}

function showProblem(problem) {
  byId("problem").textContent = problem.message;
  if (problem.status === 401) {
    byId("token-field").hidden = false;
    token.focus();
  }
}

// Show the step of a character of a text.
function explain(text, k) {
  diagram.show(text.run, text.name(k - 1), text.name(k), text.changes[k]);
  player.show(text, k);
}

// Load the runs of the server once; again if it failed, for example after a token is given.
function loaded() {
  runs ??= load().catch((problem) => {
    runs = null;
    throw problem;
  });
  return runs;
}

async function load() {
  const server = await (await ask("api/runs", headers)).json();
  length.max = server.max_length;
  if (length.valueAsNumber > server.max_length) length.value = server.max_length;
  prompt.maxLength = server.max_prompt;
  if (server.runs.some((run) => run.alphabet && [...prompt.value].some((c) => !run.alphabet.includes(c)))) prompt.value = "";
  const names = new Map(server.runs.flatMap((run) => run.gates.map((gate, k) => [gate, run.gate_names[k]])));
  for (const [gate, name] of names) byId("gate").append(new Option(name, gate));
  byId("colouring").hidden = names.size === 0;
  byId("freezing").hidden = !server.runs.some((run) => run.frozen_of);
  const hyper = server.runs.find((run) => run.gates.length);
  if (hyper) diagram.of(hyper);
  byId("problem").textContent = "";
  return server.runs.map((run, k) => {
    const section = byId("run").content.cloneNode(true).querySelector("section");
    section.id = `run${k}`;
    byId("runs").append(section);
    const text = new Text(run, section, colours, explain, headers);
    colours.add(text, `#${section.id} .text`);
    section.hidden = run.frozen_of !== null;
    return text;
  });
}

async function write() {
  writing?.abort();
  const own = (writing = new AbortController());
  stop.disabled = false;
  byId("problem").textContent = "";
  try {
    const texts = (await loaded()).filter((text) => !text.section.hidden);
    if (own.signal.aborted) return;
    const settings = Object.fromEntries(SETTINGS.map((name) => [name, name === "prompt" ? prompt.value : byId(name).valueAsNumber]));
    history.replaceState(null, "", `#${new URLSearchParams(settings)}`);
    const problems = await Promise.all(texts.map((text) => text.write(settings, own.signal)));
    const problem = problems.find((problem) => problem !== null);
    if (problem) showProblem(problem);
  } catch (problem) {
    showProblem(problem);
  } finally {
    if (writing === own) {
      if (document.activeElement === stop) byId("write").focus();
      stop.disabled = true;
      writing = null;
    }
  }
}

// Show or hide the runs with frozen weights. The texts are written again, the same for the same settings, if there are any.
async function freeze({ target }) {
  const texts = await loaded();
  for (const text of texts) if (text.run.frozen_of) text.section.hidden = !target.checked;
  if (target.checked && texts.some((text) => text.request)) write();
}

byId("freeze").addEventListener("change", freeze);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
stop.addEventListener("click", () => writing?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") writing?.abort();
  if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
});
readAddress();
loaded().catch(showProblem);
