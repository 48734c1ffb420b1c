// The user's own text, coloured while it is typed: what a model's steps change while they read it, and what it costs in bits.
//
// A textarea cannot colour its characters, so a box behind it has the same characters with their strips. The step of a character
// depends on those before it alone, so that the strips of an unchanged beginning stay when the rest changes.

import { checkKnown } from "./alphabet.js";
import { number, say, silence, t } from "./language.js";
import { Letters } from "./letters.js";
import { ask, events } from "./requests.js";

const PAUSE = 300; // milliseconds without a new character after which the text is read
const HIGHEST = 200; // pixels; a longer text is scrolled

export class Prompt extends Letters {
  // area: the textarea; box: behind it; status: the element for the costs and for problems; run: colours it; runs: read it.
  // colours: those of all texts; explain: shows the step of a character; headers: of its requests.
  constructor({ area, box, status, run, runs, colours, explain, headers }) {
    super(run, box, explain);
    Object.assign(this, { area, status, runs, colours, headers });
    this.timer = null;
    this.reading = null; // the AbortController of the last requests
    area.addEventListener("input", (event) => {
      this.follow();
      if (!event.isComposing) this.later();
    });
    area.addEventListener("compositionend", () => this.later());
    area.addEventListener("scroll", () => (box.scrollTop = area.scrollTop));
    document.addEventListener("selectionchange", () => document.activeElement === area && this.point());
    new ResizeObserver(() => this.fit()).observe(area);
    this.follow();
  }

  // Show the characters of the textarea, with the steps of those that are read.
  follow() {
    const now = this.area.value;
    let kept = 0, end = 0;
    while (kept < this.characters.length && now.startsWith(this.characters[kept], end)) end += this.characters[kept++].length;
    for (const list of ["characters", "changes", "steps", "scales"]) this[list].length = kept;
    for (const span of this.spans.splice(kept)) span.remove();
    this.here = Math.min(this.here, kept - 1);
    this.add(now.slice(end), []);
    this.fit();
  }

  // Make the textarea as high as its text, and the box as large as the textarea without its scrollbar.
  fit() {
    this.box.classList.toggle("ends-line", this.characters.at(-1) === "\n"); // a textarea has a line after it
    const { area, box } = this;
    const width = () => (box.style.width = `${area.clientWidth + 2 * area.clientLeft}px`);
    box.style.height = "auto";
    width();
    area.style.height = box.style.height = `${Math.min(HIGHEST, box.offsetHeight)}px`;
    width();
    box.scrollTop = area.scrollTop;
  }

  // Show the step of the character before the cursor, or of the word that it is in.
  point() {
    const at = this.area.selectionStart;
    let end = 0;
    if (at) this.show(this.characters.findIndex((character) => (end += character.length) >= at));
  }

  later() {
    this.reading?.abort();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.read(), PAUSE);
  }

  // Read the text by all runs; the one before it is no longer read.
  async read() {
    this.reading?.abort();
    const { signal } = (this.reading = new AbortController());
    const text = this.area.value;
    if (!text) return silence(this.status);
    try {
      const read = await Promise.all(this.runs.map((run) => this.readBy(run, text, signal)));
      this.take(read[this.runs.indexOf(this.run)]);
      const costs = read.filter((letters) => letters.bits !== undefined);
      const shown = (bits) => number(bits, { maximumFractionDigits: 2 });
      const cost = ({ run, bits }) => {
        const frozen = costs.find((other) => other.run.frozen_of === run.name);
        return frozen ? t("bits_frozen", run.name, shown(bits), shown(frozen.bits)) : t("bits", run.name, shown(bits));
      };
      const list = () => costs.filter(({ run }) => !run.frozen_of).map(cost).join(t("semicolon"));
      if (costs.length) say(this.status, "bits_of", list);
      else silence(this.status);
    } catch (problem) {
      if (!signal.aborted) say(this.status, problem.key, ...problem.values);
    }
  }

  async readBy(run, text, signal) {
    checkKnown(run, text);
    const letters = new Letters(run, document.createElement("div"), () => {});
    const body = JSON.stringify({ run: run.name, prompt: text, details: true });
    const answer = await ask("api/read", this.headers, { method: "POST", body, signal });
    for await (const [name, data] of events(answer.body)) if (name === "prompt") letters.add(data.symbols ?? data.text, data.changes, data.steps);
    return letters;
  }

  // Show what was read of the text. The textarea may have other characters by now.
  take(read) {
    if (!read.spans.length) return; // the server stopped
    this.clear();
    this.add(read.characters, read.changes, read.steps);
    this.follow();
    this.colours.rescale();
    if (document.activeElement === this.area) this.point();
    else if (!document.querySelector("#runs .text span")) this.show(this.spans.length - 1); // a written text keeps the diagram
  }
}
