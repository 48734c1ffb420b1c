// Requests to the API, whose addresses are relative to the page's, and the sentences for those that fail.

// headers: () => headers that each request carries.
export async function ask(path, headers, options) {
  let answer;
  try {
    answer = await fetch(path, { headers: headers(), ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("Cannot reach the server: is it still running?");
  }
  if (answer.ok) return answer;
  const body = await answer.text();
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  const error = new Error(isJson ? JSON.parse(body).detail : body);
  error.status = answer.status;
  // the only setting that the page does not let its user choose
  if (error.message.startsWith("run: ")) error.message = "The server has other runs now: reload the page.";
  throw error;
}

// The events of a stream: blocks of lines "name: value", separated by empty lines. A block of comments is no event.
export async function* events(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
