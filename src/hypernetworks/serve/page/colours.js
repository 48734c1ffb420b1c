// The colours of all texts: one scale for all of them, from no change to the change that gets the full colour.

import { gateName, number, say, sayMade } from "./language.js";

// Changes from this quantile up get the full colour. If the largest change got it, most characters would be pale.
const FULL_COLOUR = 0.95;

export const percent = (change) => `${number(100 * change, { maximumSignificantDigits: 2 })} %`;

export class Colours {
  // choice: the select of a gate; legend: the element for the number at the scale's end.
  constructor(choice, legend) {
    this.page = document.documentElement; // the diagram and the tables have the same scale
    this.choice = choice;
    this.legend = legend;
    this.texts = [];
    this.prompt = null; // it has a scale of its own until there is a text
    this.sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(this.sheet);
  }

  // Offer the gates of some runs.
  offer(gates, chosen) {
    for (const gate of gates) {
      const option = new Option("", gate);
      sayMade(option, () => gateName(gate));
      this.choice.append(option);
    }
    if (gates.has(chosen)) this.choice.value = chosen;
    this.choice.addEventListener("change", () => this.rescale());
    this.rescale();
  }

  // Colour the characters of a text, whose changes are in their properties --0, --1, … : a strip for each gate below each
  // character, or the whole character by the gate that is chosen.
  add(text, selector) {
    const colour = (k, hot) => `color-mix(in oklab, var(${hot}) calc(100% * min(1, var(--${k}, 0) / var(--full, 1))), transparent)`;
    const { gates, frozen_of } = text.run;
    if (!gates.length || frozen_of) return; // nothing changes
    const strips = gates.map(
      (_, k) => `linear-gradient(${colour(k, "--bright")} 0 0) 0 calc(100% - ${gates.length - 1 - k} * var(--strip)) / 100% var(--strip) no-repeat`,
    );
    this.sheet.insertRule(`${selector} span { padding-bottom: calc(${gates.length} * var(--strip)); background: ${strips}; }`);
    this.sheet.insertRule(`${selector} { line-height: calc(1.45em + ${gates.length} * var(--strip)); }`);
    gates.forEach((gate, k) => {
      const chosen = `[data-gate="${CSS.escape(gate)}"] ${selector} span`;
      this.sheet.insertRule(`${chosen} { padding-bottom: 0; background: ${colour(k, "--hot")}; }`, this.sheet.cssRules.length);
    });
  }

  // The changes of one character that are shown: of all gates, or of the chosen one.
  shown(text, changes) {
    if (!this.choice.value) return changes;
    const k = text.run.gates.indexOf(this.choice.value);
    return k < 0 ? [] : [changes[k]];
  }

  rescale() {
    this.page.dataset.gate = this.choice.value;
    const changesOf = (text) => text.changes.flatMap((changes) => (changes ? this.shown(text, changes) : []));
    let shown = this.texts.filter((text) => !text.run.frozen_of).flatMap(changesOf);
    if (!shown.length && this.prompt) shown = changesOf(this.prompt);
    shown.sort((a, b) => a - b);
    const full = shown[Math.floor(FULL_COLOUR * shown.length)];
    this.page.style.setProperty("--full", full || 1);
    if (full) say(this.legend, "and_more", () => percent(full));
    else say(this.legend, "much");
  }
}
