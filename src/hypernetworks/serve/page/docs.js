// The API, as openapi.json tells it: each path with what goes in, what comes out, and a line for the shell.

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function table(heads, rows) {
  const made = element("table", "", element("tr", "", ...heads.map((head) => element("th", head))));
  for (const row of rows) made.append(element("tr", "", ...row.map((cell) => element("td", cell ?? ""))));
  const scroll = element("div", "", made);
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  return scroll;
}

function bounds(schema) {
  const told = { minimum: "≥ ", maximum: "≤ ", exclusiveMaximum: "< ", maxLength: "at most characters: ", enum: "one of ", const: "" };
  return Object.entries(told)
    .filter(([name]) => name in schema)
    .map(([name, words]) => words + [schema[name]].flat().join(", "))
    .join("; ");
}

function operation(path, method, told, schemas) {
  const article = element("article", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", told.description ?? told.summary));
  const body = told.requestBody?.content["application/json"].schema;
  const origin = location.origin;
  if (body) {
    const { properties } = schemas[body.$ref.split("/").pop()];
    article.append(
      table(
        ["setting", "type", "default", "bounds", ""],
        Object.entries(properties).map(([name, schema]) => [
          name, schema.type, JSON.stringify(schema.default), bounds(schema), schema.description,
        ]),
      ),
      element("pre", `curl -N ${origin}${path} -H 'Content-Type: application/json' -d '{"length": 100}'`),
    );
    article.lastChild.tabIndex = 0;
  }
  article.append(
    table(
      ["answer", ""],
      Object.entries(told.responses).map(([status, { description }]) => [status, description]),
    ),
  );
  return article;
}

const told = await (await fetch("/openapi.json")).json();
for (const [path, operations] of Object.entries(told.paths))
  for (const [method, each] of Object.entries(operations))
    document.getElementById("paths").append(operation(path, method, each, told.components.schemas));
