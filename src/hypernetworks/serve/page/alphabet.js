// Names of characters, and those that a model does not know.

import { t } from "./language.js";
import { Problem } from "./requests.js";

const NAMES = { "\n": "newline", " ": "space" };
const SHOWN = 5; // unknown characters that are listed

export const nameOf = (character) => (character in NAMES ? t(NAMES[character]) : character);

// Throws a problem if a text has characters that are not in the alphabet of a run.
export function checkKnown(run, text) {
  const unknown = [...text].map((character, k) => [character, k + 1]).filter(([character]) => run.alphabet && !run.alphabet.includes(character));
  if (!unknown.length) return;
  const list = () => unknown.slice(0, SHOWN).map(([character, k]) => t("unknown_character", nameOf(character), k)).join(t("comma"));
  throw new Problem("unknown_characters", run.name, list);
}
