// The diagram of one step: what was read, what the small network made of it for each gate, and what was written.

import { percent } from "./colours.js";

export class Diagram {
  constructor(box) {
    this.box = box;
    this.read = box.querySelector(".read");
    this.wrote = box.querySelector(".wrote");
    this.gates = box.querySelector(".gates");
    this.run = null;
  }

  // The gates of a run, before any step.
  of(run) {
    this.box.hidden = false;
    this.run = run;
    const rows = run.gates.map((gate, k) => {
      const row = document.createElement("div");
      const name = document.createElement("span"), bar = document.createElement("span"), number = document.createElement("span");
      name.textContent = run.gate_names[k];
      bar.className = "gate-bar";
      number.className = "number";
      row.append(name, bar, number);
      return row;
    });
    this.gates.replaceChildren(...rows);
  }

  // read, wrote: names of characters; changes: of each gate in that step, or nothing if no step was taken.
  show(run, read, wrote, changes) {
    if (!run.gates.length) return;
    if (run !== this.run) this.of(run);
    this.read.textContent = read;
    this.wrote.textContent = wrote;
    [...this.gates.children].forEach((row, k) => {
      row.style.setProperty("--0", changes?.[k] ?? 0);
      row.lastChild.textContent = changes ? percent(changes[k]) : "";
    });
  }
}
