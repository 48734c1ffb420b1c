// The mean change of each gate by what was written: a word, the first letter of a word, a later one, a space, …

import { percent } from "./colours.js";
import { number, say, sayMade } from "./language.js";

const LETTER = /\p{Letter}/u;
const KINDS = ["word", "first_letter", "later_letter", "space", "newline", "digit", "other_sign"];

export function kindOf(character, before) {
  if ([...character].length > 1) return "word";
  if (LETTER.test(character)) return LETTER.test(before ?? "") ? "later_letter" : "first_letter";
  if (character === "\n") return "newline";
  if (/\s/.test(character)) return "space";
  return /\p{Number}/u.test(character) ? "digit" : "other_sign";
}

// For each kind that occurs its number of characters and the mean change of each gate, from the first character on that the
// model wrote: the first steps of a prompt, from the zero state, change the weights far more than others.
export function meanChanges(characters, changes, from) {
  const sums = new Map();
  characters.forEach((character, k) => {
    if (k < from || !changes[k]) return;
    const kind = kindOf(character, characters[k - 1]);
    const { count, total } = sums.get(kind) ?? { count: 0, total: changes[k].map(() => 0) };
    sums.set(kind, { count: count + 1, total: total.map((sum, gate) => sum + changes[k][gate]) });
  });
  return KINDS.filter((kind) => sums.has(kind)).map((kind) => {
    const { count, total } = sums.get(kind);
    return { kind, count, means: total.map((sum) => sum / count) };
  });
}

// Fill a table with them, a bar behind each number.
export function showKinds(table, gates, rows) {
  const add = (name, cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((fill) => {
      const cell = document.createElement(name);
      fill(cell);
      return cell;
    }));
    table.append(row);
  };
  table.replaceChildren();
  add("th", [(cell) => say(cell, "kind"), (cell) => say(cell, "count"), ...gates.map((gate) => (cell) => (cell.textContent = gate))]);
  for (const { kind, count, means } of rows)
    add("td", [
      (cell) => say(cell, kind),
      (cell) => sayMade(cell, () => number(count)),
      ...means.map((mean) => (cell) => {
        cell.className = "mean";
        cell.style.setProperty("--0", mean);
        sayMade(cell, () => percent(mean));
      }),
    ]);
}
