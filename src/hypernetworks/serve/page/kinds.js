// The mean change of each gate by what was written: the first letter of a word, a later one, a space, …

import { percent } from "./colours.js";

const LETTER = /\p{Letter}/u;
const KINDS = ["first letter", "later letter", "space", "end of line", "digit", "other sign"];

export function kindOf(character, before) {
  if (LETTER.test(character)) return LETTER.test(before ?? "") ? "later letter" : "first letter";
  if (character === "\n") return "end of line";
  if (/\s/.test(character)) return "space";
  return /\p{Number}/u.test(character) ? "digit" : "other sign";
}

// For each kind that occurs its number of characters and the mean change of each gate.
export function meanChanges(characters, changes) {
  const sums = new Map();
  characters.forEach((character, k) => {
    if (!changes[k]) return;
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
  const row = (name, cells) => {
    const made = document.createElement("tr");
    made.append(...cells.map((cell) => Object.assign(document.createElement(name), { textContent: cell })));
    return made;
  };
  const head = row("th", ["written", "characters", ...gates]);
  table.replaceChildren(
    head,
    ...rows.map(({ kind, count, means }) => {
      const made = row("td", [kind, count.toLocaleString("en"), ...means.map(percent)]);
      means.forEach((mean, k) => {
        made.cells[k + 2].className = "mean";
        made.cells[k + 2].style.setProperty("--0", mean);
      });
      return made;
    }),
  );
}
