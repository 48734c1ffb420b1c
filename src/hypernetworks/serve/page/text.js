// The text of one run on the page: its characters, their numbers, and the state of its request.
//
//   idle → waiting → writing → finished, out of time, stopped, failed
//
// A new request may come at any time. The text stays until the server begins the new one.

import { checkKnown } from "./alphabet.js";
import { percent } from "./colours.js";
import { save } from "./files.js";
import { meanChanges, showKinds } from "./kinds.js";
import { label, number, say, sayMade, t } from "./language.js";
import { countOf, Letters } from "./letters.js";
import { ask, events } from "./requests.js";

export class Text extends Letters {
  // section: its elements; colours: those of all texts; explain, explainSoon: show the step of a character, now or in the next
  // frame; headers: of its requests.
  constructor(run, section, { colours, explain, explainSoon, headers }) {
    super(run, section.querySelector(".text"), explain);
    Object.assign(this, { section, colours, explainSoon, headers });
    this.status = section.querySelector(".status");
    this.shown = section.querySelector(".change");
    this.kinds = section.querySelector(".kinds");
    this.request = null; // the last one, that is, its AbortSignal
    const title = section.querySelector("h2");
    if (run.frozen_of) say(title, "frozen_name", run.frozen_of);
    else title.textContent = run.name;
    const parameters = () => number(run.parameters);
    const about = section.querySelector(".about");
    if (run.frozen_of) say(about, "about_frozen");
    else say(about, run.gates.length ? "about" : "about_fixed", run.network, parameters, () => run.gates.join(t("comma")));
    label(this.box, "text_of", run.name);
    this.box.addEventListener("keydown", (event) => this.move(event));
    // not pointerover, which also comes when the page moves below a pointer that rests
    this.box.addEventListener("pointermove", ({ target }) => {
      if (!target.classList.contains("here")) this.show(this.spans.indexOf(target));
    });
    this.box.addEventListener("copy", (event) => this.copy(event));
    this.saving = section.querySelector(".save");
    this.saving.addEventListener("click", ({ target }) => target.value && save(this, target.value));
    const button = section.querySelector(".copy");
    button.hidden = !navigator.clipboard; // over plain HTTP, browsers have one for localhost alone
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.characters.join(""));
      say(button, "copied");
    });
    say(this.shown, "hint");
  }

  clear() {
    super.clear();
    this.line = document.createElement("div");
    this.box.append(this.line);
  }

  place(span, character) {
    this.line.append(span);
    if (character !== "\n") return;
    span.textContent = "↵";
    // each line has its own box, so that the browser lays out only the last one
    span.classList.add("end-of-line");
    this.line = document.createElement("div");
    this.box.append(this.line);
  }

  add(characters, changes, steps, isPrompt = false) {
    const atEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 40;
    super.add(characters, changes, steps);
    if (isPrompt) {
      this.prompted = this.spans.length;
      for (const span of this.spans) span.classList.add("prompt");
    }
    if (this.run.gates.length && !this.run.frozen_of && this.spans.length) this.explainSoon(this, this.spans.length - 1);
    // the scale is updated as the text grows, at increasing intervals
    if (this.spans.length >= 2 * this.scaledAt || this.spans.length < 32) this.rescale();
    if (atEnd) this.box.scrollTop = this.box.scrollHeight;
  }

  rescale() {
    this.scaledAt = this.spans.length;
    this.colours.rescale();
  }

  show(k) {
    super.show(k);
    if (this.here === k) sayMade(this.shown, () => this.described(k));
  }

  // The step of a character in words.
  described(k) {
    const changes = this.changes[k], { gates } = this.run;
    if (!k) return t("first_character", 1, this.name(0));
    const step = t(k < this.prompted ? "expected" : "wrote", k + 1, this.name(k - 1), this.name(k));
    if (changes) return t("weights_changed", step, gates.map((gate, n) => `${gate} ${percent(changes[n])}`).join(t("comma")));
    return gates.length ? step : t("weights_fixed", step);
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

  // Ask for a text and show it. Returns the problem, if there was one.
  async write(settings, signal) {
    this.request = signal;
    say(this.status, "waiting");
    const began = performance.now();
    let reason = "failed", problem = null, written = 0;
    try {
      checkKnown(this.run, settings.prompt);
      const body = JSON.stringify({ run: this.run.name, details: true, ...settings });
      const answer = await ask("api/generate", this.headers, { method: "POST", body, signal });
      for await (const [name, data] of events(answer.body)) {
        if (name === "prompt") {
          this.clear();
          this.settings = settings;
          say(this.status, "writing");
          say(this.shown, "hint");
          this.add(data.symbols ?? data.text, data.changes, data.steps, true);
        } else if (name === "text") {
          this.add(data.symbols ?? data.text, data.changes, data.steps);
          written = countOf(this.characters.slice(this.prompted));
        } else reason = data.reason;
      }
    } catch (error) {
      if (signal.aborted) reason = "stopped";
      else problem = error;
    }
    if (this.request !== signal) return null; // a new request has begun
    this.rescale();
    this.saving.hidden = !this.spans.length;
    say(this.saving.querySelector(".copy"), "copy");
    const rows = this.run.frozen_of ? [] : meanChanges(this.characters, this.changes, this.prompted);
    showKinds(this.kinds.querySelector("table"), this.run.gates, rows);
    this.kinds.hidden = !rows.length;
    const seconds = (performance.now() - began) / 1000;
    const inSeconds = () => number(seconds, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    say(this.status, "ended", () => t(`end_${reason}`), () => number(written), inSeconds);
    return problem;
  }
}
