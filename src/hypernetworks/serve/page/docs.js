// Renders openapi.json: each path with its settings, its responses and a curl command.

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
  const labels = { minimum: "≥ ", maximum: "≤ ", exclusiveMaximum: "< ", maxLength: "maximum length ", enum: "one of ", const: "" };
  return Object.entries(labels)
    .filter(([name]) => name in schema)
    .map(([name, words]) => words + [schema[name]].flat().join(", "))
    .join("; ");
}

function operation(path, method, described, schemas) {
  const article = element("article", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", described.description ?? described.summary));
  const body = described.requestBody?.content["application/json"].schema;
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
      ["status", ""],
      Object.entries(described.responses).map(([status, { description }]) => [status, description]),
    ),
  );
  return article;
}

const api = await (await fetch("/openapi.json")).json();
for (const [path, operations] of Object.entries(api.paths))
  for (const [method, each] of Object.entries(operations))
    document.getElementById("paths").append(operation(path, method, each, api.components.schemas));
