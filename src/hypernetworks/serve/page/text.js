// The text of one run on the page: its characters, their numbers, and the state of its request.
//
//   idle → waiting → writing → finished, out of time, stopped, failed
//
// A new request may come at any time. The text stays until the server begins the new one.

import { percent } from "./colours.js";
import { save } from "./files.js";
import { meanChanges, showKinds } from "./kinds.js";
import { ask, events } from "./requests.js";

const ENDS = { length: "Finished", "time-out": "Out of time", shutdown: "The server stopped", stopped: "Stopped", failed: "Failed" };
const HINT = "Point at a character, or use the arrow keys, for the numbers.";
const NAMES = { "\n": "end of line", " ": "space" };

export class Text {
  // section: its elements; colours: those of all texts; explain: shows the step of a character; headers: of its requests.
  constructor(run, section, colours, explain, headers) {
    this.run = run;
    this.colours = colours;
    this.explain = explain;
    this.headers = headers;
    this.box = section.querySelector(".text");
    this.status = section.querySelector(".status");
    this.shown = section.querySelector(".change");
    this.section = section;
    this.kinds = section.querySelector(".kinds");
    this.kinds.hidden = !run.gates.length || run.frozen_of !== null;
    this.request = null; // the last one, that is, its AbortSignal
    section.querySelector("h2").textContent = run.name;
    section.querySelector(".about").textContent = run.frozen_of
      ? "the same model with weights that do not move: each scale has its mean"
      : `${run.network}, ${run.parameters.toLocaleString("en")} parameters` +
        (run.gates.length ? "" : "; fixed weights: nothing is coloured");
    this.box.setAttribute("aria-label", `Text of ${run.name}; arrow keys move through its characters`);
    this.box.addEventListener("keydown", (event) => this.move(event));
    // not pointerover, which also comes when the page moves below a pointer that rests
    this.box.addEventListener("pointermove", ({ target }) => {
      if (target !== this.spans[this.here]) this.show(this.spans.indexOf(target));
    });
    this.box.addEventListener("copy", (event) => this.copy(event));
    this.saving = section.querySelector(".save");
    this.saving.addEventListener("click", ({ target }) => target.value && save(this, target.value));
    this.clear();
  }

  clear() {
    this.characters = [];
    this.spans = [];
    this.changes = [];
    this.prompted = 0; // characters of the prompt
    this.here = -1;
    this.shown.textContent = HINT;
    this.line = document.createElement("div");
    this.box.replaceChildren(this.line);
  }

  add(text, changes, isPrompt = false) {
    const atEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 40;
    let k = 0;
    for (const character of text) {
      const span = document.createElement("span");
      span.textContent = character === "\n" ? "↵" : character;
      if (isPrompt) span.classList.add("prompt");
      changes[k]?.forEach((change, gate) => span.style.setProperty(`--${gate}`, change));
      this.line.append(span);
      this.spans.push(span);
      this.characters.push(character);
      this.changes.push(changes[k++]);
      if (character === "\n") {
        // each line has its own box, so that the browser lays out only the last one
        span.classList.add("end-of-line");
        this.line = document.createElement("div");
        this.box.append(this.line);
      }
    }
    if (isPrompt) this.prompted = this.spans.length;
    if (this.run.gates.length && !this.run.frozen_of) this.explain(this, this.spans.length - 1);
    // the scale is updated as the text grows, at increasing intervals
    if (this.spans.length >= 2 * this.scaledAt || this.spans.length < 32) this.rescale();
    if (atEnd) this.box.scrollTop = this.box.scrollHeight;
  }

  rescale() {
    this.scaledAt = this.spans.length;
    this.colours.rescale();
  }

  name(k) {
    return NAMES[this.characters[k]] ?? this.characters[k] ?? "nothing";
  }

  show(k) {
    if (k < 0 || k >= this.spans.length) return;
    this.spans[this.here]?.classList.remove("here");
    this.here = k;
    this.spans[k].classList.add("here");
    this.explain(this, k);
    const read = k ? this.name(k - 1) : "the beginning";
    const step = k < this.prompted ? `Read ${read}, expecting ${this.name(k)}` : `Read ${read}, wrote ${this.name(k)}`;
    const numbers = (changes) => this.run.gates.map((gate, n) => `${gate} ${percent(changes[n])}`).join(", ");
    const changes = this.changes[k];
    this.shown.textContent =
      `${k + 1}: ${changes || k ? step : `${this.name(k)}: no step before it`}` +
      (changes ? ` — weights changed: ${numbers(changes)}` : this.run.gates.length ? "" : " — weights are fixed");
  }

  move(event) {
    const to = { ArrowRight: this.here + 1, ArrowLeft: this.here - 1, Home: 0, End: this.spans.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.show(to);
    this.reveal();
  }

  // Scroll to the chosen character, inside the box alone, so that the page does not move.
  reveal() {
    const span = this.spans[this.here];
    if (!span) return;
    const top = span.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    if (top < 0 || top > this.box.clientHeight - 40) this.box.scrollTop += top - this.box.clientHeight / 2;
  }

  // Copy the characters themselves: the browser would lose empty lines, whose only content is a sign.
  copy(event) {
    const range = getSelection().getRangeAt(0);
    const isChosen = ({ firstChild: node }) => range.comparePoint(node, 0) === 0 && range.comparePoint(node, node.length) === 0;
    event.clipboardData.setData("text/plain", this.characters.filter((_, k) => isChosen(this.spans[k])).join(""));
    event.preventDefault();
  }

  // Ask for a text and show it. Returns the error, if there was one.
  async write(settings, signal) {
    this.request = signal;
    this.status.textContent = "Waiting …";
    const began = performance.now();
    let reason = "failed", problem = null, written = 0;
    try {
      const body = JSON.stringify({ run: this.run.name, ...settings });
      const answer = await ask("api/generate", this.headers, { method: "POST", body, signal });
      for await (const [name, data] of events(answer.body)) {
        if (name === "prompt") {
          this.clear();
          this.settings = settings;
          this.status.textContent = "Writing …";
          this.add(data.text, data.changes, true);
        } else if (name === "text") {
          this.add(data.text, data.changes);
          written = this.spans.length - this.prompted;
        } else reason = data.reason;
      }
    } catch (error) {
      if (signal.aborted) reason = "stopped";
      else problem = error;
    }
    if (this.request !== signal) return null; // a new request has begun
    this.rescale();
    this.saving.hidden = !this.spans.length;
    showKinds(this.kinds.querySelector("table"), this.run.gates, meanChanges(this.characters, this.changes));
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    this.status.textContent = `${ENDS[reason]}: ${written.toLocaleString("en")} characters in ${seconds} s`;
    return problem;
  }
}
