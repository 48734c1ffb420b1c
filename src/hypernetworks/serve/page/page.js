// The page: its runs, and writing and stopping. Texts are in text.js, what the user types in prompt.js, settings in settings.js.

import { Colours } from "./colours.js";
import { Diagram } from "./diagram.js";
import { current, fill, offer, say, silence, speak } from "./language.js";
import { unmark } from "./letters.js";
import { Player } from "./player.js";
import { Prompt } from "./prompt.js";
import { ask } from "./requests.js";
import { inAddress, readAddress, settings, writeAddress } from "./settings.js";
import { Text } from "./text.js";

const byId = (id) => document.getElementById(id);
const form = byId("form"), prompt = byId("prompt"), length = byId("length"), stop = byId("stop"), token = byId("token");
let colours, diagram, player;
let runs = null; // the promise of the texts of all runs
let next = null; // the text and the character that the next frame explains
let writing = null; // the AbortController of the texts that are being generated

function headers() {
  return { "Content-Type": "application/json", ...(token.value && { Authorization: `Bearer ${token.value}` }) };
}

function showProblem(problem) {
  if (!problem.key) throw problem;
  say(byId("problem"), problem.key, ...problem.values);
  if (!problem.key.startsWith("token")) return;
  byId("token-field").hidden = false;
  token.focus();
}

// Show the step of a character of a written text.
function explain(text, k) {
  next = null;
  diagram.show(text, k);
  player.show(text, k);
}

// The same in the next frame, for a text that is being written: it can come faster than a busy machine draws.
function explainSoon(text, k) {
  if (!next)
    requestAnimationFrame(() => {
      if (!next || next[1] >= next[0].spans.length) return;
      unmark();
      explain(...next);
    });
  next = [text, k];
}

// Show the step of a character of what is typed.
function explainTyped(text, k) {
  next = null;
  diagram.show(text, k);
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
  const isKnown = (text) => server.runs.every((run) => !run.alphabet || [...text].every((character) => run.alphabet.includes(character)));
  if (prompt.value === prompt.defaultValue && !isKnown(prompt.value)) prompt.value = "";
  const gates = new Set(server.runs.flatMap((run) => run.gates));
  byId("colouring").hidden = gates.size === 0;
  byId("freezing").hidden = !server.runs.some((run) => run.frozen_of);
  const hyper = server.runs.find((run) => run.gates.length) ?? server.runs[0];
  diagram.of(hyper);
  say(document.querySelector(".lead"), hyper.gates.length ? "lead" : "lead_fixed");
  silence(byId("problem"));
  const texts = server.runs.map((run, k) => {
    const section = byId("run").content.cloneNode(true).querySelector("section");
    section.id = `run${k}`;
    byId("runs").append(section);
    fill(section);
    const text = new Text(run, section, { colours, explain, explainSoon, headers });
    colours.add(text, `#${section.id} .text`);
    section.hidden = run.frozen_of !== null && !byId("freeze").checked;
    return text;
  });
  colours.texts = texts;
  const [status, box] = [byId("reading"), byId("read-prompt")];
  colours.prompt = new Prompt({ area: prompt, box, status, run: hyper, runs: server.runs, colours, headers, explain: explainTyped });
  colours.add(colours.prompt, ".typed");
  colours.offer(gates, inAddress("gate"));
  colours.prompt.read();
  return texts;
}

async function write() {
  writing?.abort();
  const own = (writing = new AbortController());
  stop.disabled = false;
  silence(byId("problem"));
  try {
    const texts = (await loaded()).filter((text) => !text.section.hidden);
    if (own.signal.aborted) return;
    writeAddress();
    const chosen = settings();
    const problems = await Promise.all(texts.map((text) => text.write(chosen, own.signal)));
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
  writeAddress();
  const texts = await loaded();
  for (const text of texts) if (text.run.frozen_of) text.section.hidden = !target.checked;
  if (target.checked && texts.some((text) => text.request)) write();
}

function listen() {
  byId("freeze").addEventListener("change", freeze);
  byId("gate").addEventListener("change", writeAddress);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  stop.addEventListener("click", () => writing?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") writing?.abort();
    if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
  });
}

readAddress();
fill(document);
offer(byId("language"), writeAddress);
speak([inAddress("language"), ...navigator.languages].filter(Boolean));
byId("language").value = current();
colours = new Colours(byId("gate"), byId("full"));
diagram = new Diagram(byId("diagram"));
player = new Player(byId("player"));
listen();
loaded().catch(showProblem);
