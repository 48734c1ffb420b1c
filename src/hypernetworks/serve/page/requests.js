// Requests to the API, whose addresses are relative to the page's, and the sentences for those that fail.

// What went wrong: a key of the table of strings, and what its sentence is made of.
export class Problem extends Error {
  constructor(key, ...values) {
    super(key);
    Object.assign(this, { key, values });
  }
}

// headers: () => headers that each request carries.
export async function ask(path, headers, options) {
  const sent = headers();
  const answer = await fetch(path, { headers: sent, ...options }).catch(lost);
  if (answer.ok) return answer;
  throw problemOf(answer, await answer.text(), "Authorization" in sent);
}

// The server is gone, unless the request was ended by the page.
function lost(error) {
  throw error.name === "AbortError" ? error : new Problem("unreachable");
}

function problemOf(answer, body, hadToken) {
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  const detail = isJson ? JSON.parse(body).detail : body;
  if (answer.status === 401) return new Problem(hadToken ? "token_wrong" : "token_missing");
  if (answer.status === 429) return new Problem("full", answer.headers.get("retry-after") ?? "1");
  if (answer.status === 503) return new Problem("stopping");
  // the only setting that the page does not let its user choose
  return detail.startsWith("run: ") ? new Problem("other_runs") : new Problem("refused", detail);
}

// The events of a stream: blocks of lines "name: value", separated by empty lines. A block of comments is no event.
export async function* events(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read().catch(lost);
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
