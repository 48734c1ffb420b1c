// A text with its changes as a file: JSON with everything, the steps as the server sent them, or CSV with one row for each character or word.

function quoted(value) {
  return `"${String(value).replaceAll('"', '""')}"`;
}

const FORMS = {
  json: (text) => {
    const { name, network, gates } = text.run;
    const { settings, prompted, characters, changes, steps } = text;
    return JSON.stringify({ run: name, network, gates, settings, prompted, text: characters.join(""), changes, steps });
  },
  // a spreadsheet may take a cell such as =1+1 for a formula, so characters are also given by their numbers
  csv: ({ run, characters, changes, steps }) =>
    [
      ["character", "code_point", "probability", ...run.gates],
      ...characters.map((character, k) => [
        quoted(character),
        [...character].map((each) => each.codePointAt(0)).join(" "),
        steps[k]?.probability ?? "",
        ...(changes[k] ?? run.gates.map(() => "")),
      ]),
    ]
      .map((row) => `${row.join(",")}\r\n`)
      .join(""),
};

const KINDS = { json: "application/json", csv: "text/csv" };

// Let the browser save a text; form: json or csv.
export function save(text, form) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([FORMS[form](text)], { type: KINDS[form] }));
  link.download = `${text.run.name.replace(/[^\p{Letter}\p{Number}_.-]+/gu, "-")}.${form}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
