// The settings of the page: the fields of the form and the choices. The address has them after #, so that it can be sent to
// others. A token in it is taken, and removed at once.

const byId = (id) => document.getElementById(id);
const FIELDS = ["prompt", "temperature", "top_k", "top_p", "length", "seed"];
const CHOICES = ["freeze", "gate", "language"]; // these are in the address, and not in a request
const given = new URLSearchParams(location.hash.slice(1));

// What the address says; null if nothing.
export const inAddress = (name) => given.get(name);

export function readAddress() {
  for (const name of FIELDS) if (given.has(name)) byId(name).value = given.get(name);
  byId("freeze").checked = given.has("freeze");
  byId("token").value = given.get("token") ?? "";
  if (!given.has("token")) return;
  given.delete("token");
  history.replaceState(null, "", `#${given}`);
}

// The settings of a request.
export function settings() {
  return Object.fromEntries(FIELDS.map((name) => [name, name === "prompt" ? byId(name).value : byId(name).valueAsNumber]));
}

export function writeAddress() {
  const chosen = { ...settings(), gate: byId("gate").value, language: byId("language").value };
  const all = new URLSearchParams(chosen);
  if (byId("freeze").checked) all.set("freeze", "1");
  for (const name of CHOICES) if (all.get(name) === "") all.delete(name);
  history.replaceState(null, "", `#${all}`);
}
