// Moves through a text that is there, step by step: by hand, or by itself at some speed.

import { describe, say } from "./language.js";

export class Player {
  // box: its buttons previous, play and next, the choice of the speed, and the slider.
  constructor(box) {
    this.box = box;
    this.play = box.querySelector("[value=play]");
    this.speed = box.querySelector("select");
    this.slider = box.querySelector("[type=range]");
    this.text = null;
    this.timer = null;
    box.addEventListener("click", ({ target }) => {
      if (target.value === "play") this.timer ? this.pause() : this.start();
      if (target.value === "previous") this.step(-1);
      if (target.value === "next") this.step(1);
    });
    this.slider.addEventListener("input", () => this.go(this.slider.valueAsNumber));
    this.speed.addEventListener("change", () => this.timer && this.start());
  }

  // Called with each character that is explained.
  show(text, k) {
    if (text !== this.text) this.pause();
    this.text = text;
    this.box.hidden = text.spans.length === 0;
    this.slider.max = text.spans.length - 1;
    this.slider.value = k;
    describe(this.slider, "aria-valuetext", "position_of", k + 1, text.spans.length, () => text.name(k));
  }

  go(k) {
    this.text.show(k);
    this.text.reveal();
  }

  step(by) {
    this.pause();
    this.go(Math.min(Math.max(this.slider.valueAsNumber + by, 0), this.text.spans.length - 1));
  }

  start() {
    clearInterval(this.timer);
    if (this.slider.value === this.slider.max) this.go(0);
    this.timer = setInterval(() => {
      if (this.slider.value === this.slider.max) this.pause();
      else this.go(this.slider.valueAsNumber + 1);
    }, 1000 / this.speed.value);
    say(this.play, "pause");
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    say(this.play, "play");
  }
}
