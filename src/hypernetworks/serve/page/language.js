// The language of the page. What an element says is remembered, so that it says it in another language after a switch.

import { NAMES, STRINGS } from "./strings.js";

const TEXT = "textContent";
const said = new WeakMap(); // element → Map of TEXT or an attribute → [key, values]
let language = "en";

// The first of some languages, as browsers name them, that the page has; else English.
const known = (languages) => languages.map((each) => each.split("-")[0]).find((each) => each in STRINGS) ?? "en";

export const current = () => language;

const formats = new Map(); // making one takes longer than using it

export function number(value, options) {
  const key = language + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language, options));
  return formats.get(key).format(value);
}

// A string of the table. A value that is itself in the language is given as a function, and made when it is needed.
export function t(key, ...values) {
  const string = STRINGS[language][key];
  return typeof string === "function" ? string(...values.map((value) => (typeof value === "function" ? value() : value))) : string;
}

// The name of a gate: i, or h2 for one of depth 2.
export function gateName(gate) {
  const name = STRINGS[language].gates[gate[0]] ?? gate;
  return gate.length > 1 ? t("gate_of_depth", name, gate.slice(1)) : name;
}

// Parts of a string, those at odd places are indices: "W_{h} of" → ["W", "h", " of"].
const parts = (string) => string.split(/_\{(.*?)\}/);

function put(element, where, key, values) {
  const string = key === null ? values[0]() : t(key, ...values);
  if (where !== TEXT) element.setAttribute(where, parts(string).join(""));
  else element.replaceChildren(...parts(string).map((part, k) => (k % 2 ? Object.assign(document.createElement("sub"), { textContent: part }) : part)));
}

function remember(element, where, key, values) {
  if (!said.has(element)) said.set(element, new Map());
  said.get(element).set(where, [key, values]);
  element.dataset.said = "";
  put(element, where, key, values);
}

export const say = (element, key, ...values) => remember(element, TEXT, key, values);
export const label = (element, key, ...values) => remember(element, "aria-label", key, values);
export const describe = (element, attribute, key, ...values) => remember(element, attribute, key, values);

// An element that shows what `make` returns, a text with names or numbers in the language.
export const sayMade = (element, make) => remember(element, TEXT, null, [make]);

export function silence(element) {
  said.get(element)?.delete(TEXT);
  element.replaceChildren();
}

// Say what the HTML refers to: data-text and data-label are keys of the table.
export function fill(root) {
  for (const element of root.querySelectorAll("[data-text]")) say(element, element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) label(element, element.dataset.label);
}

export function speak(languages) {
  language = known(languages);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-said]"))
    for (const [where, [key, values]] of said.get(element)) put(element, where, key, values);
}

// A choice of the languages, each by its own name.
export function offer(choice, changed) {
  choice.append(...Object.entries(NAMES).map(([language, name]) => Object.assign(new Option(name, language), { lang: language })));
  choice.addEventListener("change", () => {
    speak([choice.value]);
    changed();
  });
}
