// The colours of all texts: one scale for all of them, from no change to the change that gets the full colour.

// Changes from this quantile up get the full colour. If the largest change got it, most characters would be pale.
const FULL_COLOUR = 0.95;

export const percent = (change) => `${(100 * change).toLocaleString("en", { maximumSignificantDigits: 2 })} %`;

export class Colours {
  // choice: the select of a gate; legend: the element for the number at the scale's end.
  constructor(choice, legend) {
    this.page = document.documentElement; // the diagram and the tables have the same scale
    this.choice = choice;
    this.legend = legend;
    this.texts = [];
    this.sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(this.sheet);
    choice.addEventListener("change", () => this.rescale());
  }

  // Colour the characters of a text, whose changes are in their properties --0, --1, … : a strip for each gate below each
  // character, or the whole character by the gate that is chosen.
  add(text, selector) {
    this.texts.push(text);
    const colour = (k, hot) => `color-mix(in oklab, var(${hot}) calc(100% * min(1, var(--${k}, 0) / var(--full, 1))), transparent)`;
    const { gates } = text.run;
    if (!gates.length) return;
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
    const shown = this.texts.filter((text) => !text.run.frozen_of).flatMap((text) => text.changes.flatMap((changes) => (changes ? this.shown(text, changes) : [])));
    shown.sort((a, b) => a - b);
    const full = shown[Math.floor(FULL_COLOUR * shown.length)];
    this.page.style.setProperty("--full", full || 1);
    this.legend.textContent = full ? `${percent(full)} and more` : "much";
  }
}
