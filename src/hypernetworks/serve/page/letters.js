// Characters in a box, each with the changes of the step that generated it, and with that step's details.

import { nameOf } from "./alphabet.js";
import { t } from "./language.js";
import { decode, reach } from "./scales.js";

// The number of characters of some characters and words.
export const countOf = (characters) => [...characters.join("")].length;

let chosen = null; // the one character of the page whose step is shown

// No character is marked: the step that is shown is of the last one of a text that is being written.
export function unmark() {
  chosen?.classList.remove("here");
  chosen = null;
}

export class Letters {
  // explain: shows the step of a character.
  constructor(run, box, explain) {
    this.run = run;
    this.box = box;
    this.explain = explain;
    this.clear();
  }

  clear() {
    this.characters = [];
    this.spans = [];
    this.changes = []; // of each gate in the step that generated the character, or nothing
    this.steps = []; // as the server sends them, or nothing
    this.scales = []; // those of the steps, one array for each gate
    this.reach = 0; // of the scales: the end of their colours
    this.prompted = 0; // characters of the prompt
    this.here = -1;
    this.box.replaceChildren();
  }

  // characters: a text, or an array of words and characters, which then are as one character each.
  add(characters, changes, steps = []) {
    let k = 0;
    for (const character of characters) {
      const span = document.createElement("span");
      span.textContent = character;
      changes[k]?.forEach((change, gate) => span.style.setProperty(`--${gate}`, change));
      this.characters.push(character);
      this.spans.push(span);
      this.changes.push(changes[k]);
      this.steps.push(steps[k]);
      this.scales.push(steps[k]?.scales ? decode(steps[k].scales, this.run.gates.length) : null);
      if (this.scales.at(-1)) this.reach = Math.max(this.reach, reach(this.scales.at(-1)));
      this.place(span, character);
      k++;
    }
  }

  place(span) {
    this.box.append(span);
  }

  // The name of a character, also before the first one.
  name(k) {
    return k < 0 ? t("beginning") : nameOf(this.characters[k]);
  }

  show(k) {
    if (k < 0 || k >= this.spans.length) return;
    this.here = k;
    unmark();
    chosen = this.spans[k];
    chosen.classList.add("here");
    this.explain(this, k);
  }

  // Bits per character, without the first one, or the first word, which nothing predicts. Undefined without steps.
  get bits() {
    const predicted = countOf(this.characters.filter((_, k) => this.steps[k]));
    const costs = this.steps.filter(Boolean).map(({ probability }) => -Math.log2(Math.max(probability, Number.MIN_VALUE)));
    return costs.length ? costs.reduce((sum, cost) => sum + cost) / predicted : undefined;
  }
}
