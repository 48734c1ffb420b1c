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
  const labels = { minimum: "≥ ", maximum: "≤ ", exclusiveMaximum: "< ", minLength: "minimum length ", maxLength: "maximum length ", enum: "one of ", const: "" };
  return Object.entries(labels)
    .filter(([name]) => name in schema)
    .map(([name, words]) => words + [schema[name]].flat().join(", "))
    .join("; ");
}

function code(text) {
  const made = element("pre", text);
  made.tabIndex = 0;
  return made;
}

function settings(rows) {
  return table(
    ["setting", "type", "default", "bounds", ""],
    rows.map(([name, schema]) => [name, schema.type, JSON.stringify(schema.default), bounds(schema), schema.description]),
  );
}

// The events of a stream, with the form of their data.
function events(schema) {
  const form = ({ properties }) =>
    Object.entries(properties).map(([name, each]) => `${name}: ${each.enum?.join(" | ") ?? each.type}`).join(", ");
  const described = ({ properties }) => Object.values(properties).map((each) => each.description ?? "").join(" ");
  return table(
    ["event", "data, as JSON", ""],
    schema.oneOf.map(({ description, properties }) => {
      const data = properties.data.contentSchema;
      return [properties.event.const, `{${form(data)}}`, `${description} ${described(data)}`];
    }),
  );
}

function operation(path, method, described, schemas) {
  const article = element("article", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", described.description ?? described.summary));
  const body = described.requestBody?.content["application/json"].schema;
  const address = new URL(path.slice(1), location); // relative, because the server may be below a path
  if (body) {
    const { properties } = schemas[body.$ref.split("/").pop()];
    const example = "length" in properties ? { length: 100 } : { prompt: "to be" };
    article.append(
      settings(Object.entries(properties)),
      code(`curl -N ${address} -H 'Content-Type: application/json' -d '${JSON.stringify(example)}'`),
    );
  } else if (described.parameters) {
    article.append(
      settings(described.parameters.map(({ name, schema, description }) => [name, { description, ...schema }])),
      code(`curl -N '${address}?length=100'`),
    );
  }
  const stream = described.responses[200].content?.["text/event-stream"]?.schema;
  if (stream) article.append(events(stream));
  article.append(
    table(
      ["status", ""],
      Object.entries(described.responses).map(([status, { description }]) => [status, description]),
    ),
  );
  return article;
}

const api = await (await fetch("openapi.json")).json();
for (const [path, operations] of Object.entries(api.paths))
  for (const [method, each] of Object.entries(operations))
    document.getElementById("paths").append(operation(path, method, each, api.components.schemas));
