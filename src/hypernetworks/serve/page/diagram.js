// The diagram of one step: what was read, the scales and changes of each gate, the gates' means, the probabilities, and what was
// written. The numbers of a step are there if the server sent them.

import { nameOf } from "./alphabet.js";
import { percent } from "./colours.js";
import { gateName, label, number, say, sayMade, silence } from "./language.js";
import { draw } from "./scales.js";

const LIKELY = 6; // characters that are shown with their probabilities

const short = (value) => number(value, { maximumSignificantDigits: 2 });

// A row of elements, some with a class: ["div", "class"].
function row(...kinds) {
  const made = document.createElement("div");
  made.append(...kinds.map(([name, kind]) => Object.assign(document.createElement(name), { className: kind })));
  return made;
}

export class Diagram {
  constructor(box) {
    this.box = box;
    for (const part of ["read", "wrote", "rows", "scale", "least", "most", "columns", "small", "main", "means", "likely"]) this[part] = box.querySelector(`.${part}`);
    this.run = null;
  }

  // The gates of a run, before any step.
  of(run) {
    this.box.hidden = false;
    this.run = run;
    this.box.querySelector(".run-name").textContent = run.name;
    this.rows.replaceChildren(...run.gates.map((gate) => {
      const made = row(["span", "name"], ["canvas", "strip"], ["span", "amount"], ["span", "number"]);
      sayMade(made.children[0], () => gateName(gate));
      made.children[1].height = 1;
      made.children[1].setAttribute("role", "img");
      return made;
    }));
    this.means.replaceChildren(...run.gates.map((gate) => {
      const made = row(["span", "name"], ["span", "share"], ["span", "number"]);
      made.children[0].textContent = gate;
      return made;
    }));
    say(this.small, run.gates.length ? "small_help" : "no_small");
    say(this.main, run.gates.length ? "main_help" : "fixed_main");
    this.scale.hidden = true;
    if (run.gates.length) silence(this.columns);
    else say(this.columns, "fixed_rows");
  }

  // Show the step of a character of a text.
  show(text, k) {
    const { run } = text;
    if (run !== this.run) this.of(run);
    sayMade(this.read, () => text.name(k - 1));
    sayMade(this.wrote, () => text.name(k));
    const changes = text.changes[k], step = text.steps[k], scales = text.scales[k];
    run.gates.forEach((gate, n) => {
      this.showRow(gate, this.rows.children[n], scales?.[n], text.reach);
      const [, , amount, change] = this.rows.children[n].children;
      amount.style.setProperty("--0", changes?.[n] ?? 0);
      if (changes) sayMade(change, () => percent(changes[n]));
      else silence(change);
    });
    if (run.gates.length) this.showLegend(text, scales, step || !changes);
    this.showMeans(step?.gates ?? []);
    this.showLikely(text.characters[k], step);
  }

  showRow(gate, { children: [, strip] }, scales, reach) {
    strip.hidden = !scales;
    if (!scales) return;
    draw(strip, scales, reach);
    const ordered = [...scales].sort((a, b) => a - b);
    label(strip, "rows_of", () => gateName(gate), () => short(ordered[0]), () => short(ordered.at(-1)));
  }

  // The ends of the colours, and what the columns are.
  showLegend({ reach, run }, scales, isComplete) {
    this.scale.hidden = !scales;
    if (!scales) return isComplete ? silence(this.columns) : say(this.columns, "no_details");
    say(this.columns, "rows_legend", () => number(scales[0].length), run.layers);
    sayMade(this.least, () => `≤ ${short(-reach)}`);
    sayMade(this.most, () => `≥ ${short(reach)}`);
  }

  showMeans(means) {
    [...this.means.children].forEach(({ children: [, share, value] }, n) => {
      share.style.setProperty("--share", Math.abs(means[n] ?? 0));
      if (means.length) sayMade(value, () => number(means[n], { minimumFractionDigits: 2, maximumFractionDigits: 2 }));
      else silence(value);
    });
  }

  // The most probable characters, and the one that was written if it is not among them.
  showLikely(written, step) {
    const shown = step ? step.likely.slice(0, LIKELY) : [];
    if (step && !shown.some(([character]) => character === written)) shown.push([written, step.probability]);
    while (this.likely.children.length < shown.length) this.likely.append(row(["span", "name"], ["span", "share"], ["span", "number"]));
    [...this.likely.children].forEach((made, n) => {
      made.hidden = n >= shown.length;
      const [character, probability] = shown[n] ?? [];
      made.className = character === written ? "chosen" : "";
      if (made.hidden) return;
      sayMade(made.children[0], () => nameOf(character));
      made.children[1].style.setProperty("--share", probability);
      sayMade(made.children[2], () => percent(probability));
    });
  }
}
