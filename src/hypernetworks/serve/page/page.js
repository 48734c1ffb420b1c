// The page: requests a text from each run for the same prompt, and colours it by the weight changes in the stream.

const LEVELS = 8;
const byId = (id) => document.getElementById(id);
const form = byId("form"), prompt = byId("prompt"), stop = byId("stop"), gate = byId("gate"), token = byId("token");
const runs = [];
let writing = null; // the AbortController of the texts that are being generated

token.value = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";

function headers() {
  return { "Content-Type": "application/json", ...(token.value && { Authorization: `Bearer ${token.value}` }) };
}

async function ask(path, options) {
  const answer = await fetch(path, { headers: headers(), ...options });
  if (answer.ok) return answer;
  if (answer.status === 401) {
    byId("token-field").hidden = false;
    token.focus();
  }
  const body = await answer.text();
  let detail = body;
  if (answer.headers.get("content-type")?.startsWith("application/json")) detail = JSON.parse(body).detail;
  throw new Error(detail);
}

function showError(error) {
  byId("problem").textContent = error instanceof TypeError ? "Cannot reach the server." : error.message;
}

// The events of a stream: blocks of lines "name: value", separated by empty lines.
async function* events(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

// The text of one run on the page.
class Text {
  constructor(run) {
    const section = byId("run").content.cloneNode(true).querySelector("section");
    this.run = run;
    this.box = section.querySelector(".text");
    this.status = section.querySelector(".status");
    this.shown = section.querySelector(".change");
    section.querySelector("h2").textContent = run.name;
    section.querySelector(".about").textContent =
      `${run.network}, ${run.parameters.toLocaleString("en")} parameters` +
      (run.gates.length ? "" : "; its weights are fixed, so nothing is coloured");
    this.box.setAttribute("aria-label", `Text of ${run.name}; arrow keys move through its characters`);
    this.box.addEventListener("keydown", (event) => this.move(event));
    this.box.addEventListener("pointerover", (event) => this.show(this.spans.indexOf(event.target)));
    this.clear("");
    byId("runs").append(section);
  }

  clear(prompt) {
    this.spans = [];
    this.changes = [];
    this.scale = 0; // the change that gets the full colour
    this.here = -1;
    this.shown.textContent = "Point at a character, or use the arrow keys, to see how much the weights changed.";
    const before = document.createElement("span");
    before.className = "prompt";
    before.textContent = prompt;
    this.line = document.createElement("div");
    this.line.append(before);
    this.box.replaceChildren(this.line);
  }

  add(text, changes) {
    const atEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 40;
    let k = 0;
    for (const character of text) {
      const span = document.createElement("span");
      span.textContent = character === "\n" ? "↵" : character;
      this.line.append(span);
      this.spans.push(span);
      this.changes.push(changes[k++]);
      this.colour(this.spans.length - 1);
      if (character === "\n") {
        // each line has its own box, so that the browser lays out only the last one
        span.dataset.newline = "";
        this.line = document.createElement("div");
        this.box.append(this.line);
      }
    }
    // the scale is updated as the text grows, at increasing intervals
    if (this.spans.length >= 2 * (this.scaledAt ?? 0) || this.spans.length < 32) this.rescale();
    if (atEnd) this.box.scrollTop = this.box.scrollHeight;
  }

  // The change shown by the colour: that of the chosen gate, or sqrt(Σ change²) over all gates.
  change(k) {
    const changes = this.changes[k];
    if (!changes) return null;
    return gate.value ? (changes[this.run.gates.indexOf(gate.value)] ?? null) : Math.hypot(...changes);
  }

  // The 95th percentile gets the full colour, so that one large change does not make all others pale.
  rescale() {
    const sorted = this.changes.map((_, k) => this.change(k)).filter((x) => x !== null).sort((a, b) => a - b);
    this.scale = sorted[Math.floor(0.95 * sorted.length)] ?? 0;
    this.scaledAt = this.spans.length;
    for (let k = 0; k < this.spans.length; k++) this.colour(k);
  }

  colour(k) {
    const change = this.change(k), span = this.spans[k];
    const level = change === null || !this.scale ? 0 : Math.min(LEVELS, Math.round((LEVELS * change) / this.scale));
    span.className = (level ? `c${level}` : "") + ("newline" in span.dataset ? " end-of-line" : "");
    if (k === this.here) span.classList.add("here");
  }

  show(k) {
    if (k < 0 || k >= this.spans.length) return;
    this.spans[this.here]?.classList.remove("here");
    this.here = k;
    this.spans[k].classList.add("here");
    const name = { "↵": "end of line", " ": "space" }[this.spans[k].textContent] ?? this.spans[k].textContent;
    const changes = this.changes[k];
    const numbers = changes
      ? `weights changed by ${Math.hypot(...changes).toPrecision(3)} (` +
        `${this.run.gates.map((gate, n) => `${gate} ${changes[n].toPrecision(3)}`).join(", ")})`
      : this.run.gates.length ? "generated by the step that read the end of the prompt" : "weights are fixed";
    this.shown.textContent = `${k + 1}: ${name} — ${numbers}`;
  }

  move(event) {
    const to = { ArrowRight: this.here + 1, ArrowLeft: this.here - 1, Home: 0, End: this.spans.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.show(to);
    this.spans[this.here]?.scrollIntoView({ block: "nearest" });
  }

  async write(request, signal) {
    this.clear(request.prompt);
    this.scaledAt = 0;
    this.status.textContent = "Writing …";
    const began = performance.now();
    let reason = "failed";
    try {
      const answer = await ask("/api/generate", {
        method: "POST",
        body: JSON.stringify({ run: this.run.name, ...request }),
        signal,
      });
      for await (const [name, data] of events(answer.body)) {
        if (name === "text") this.add(data.text, data.changes);
        else reason = data.reason;
      }
    } catch (error) {
      reason = error.name === "AbortError" ? "stopped" : "failed";
      if (reason === "failed") showError(error);
    }
    this.rescale();
    const seconds = (performance.now() - began) / 1000, count = this.spans.length;
    const ended = { length: "Finished", stopped: "Stopped", "time-out": "Out of time", shutdown: "The server stopped" };
    this.status.textContent =
      `${ended[reason] ?? "Failed"}: ${count.toLocaleString("en")} characters in ${seconds.toFixed(1)} s`;
  }
}

async function write() {
  writing?.abort();
  const own = (writing = new AbortController());
  byId("problem").textContent = "";
  stop.disabled = false;
  const request = { prompt: prompt.value };
  for (const name of ["temperature", "top_k", "length", "seed"]) request[name] = byId(name).valueAsNumber;
  await Promise.all(runs.map((text) => text.write(request, own.signal)));
  if (writing !== own) return;
  if (document.activeElement === stop) byId("write").focus();
  stop.disabled = true;
}

// Loads the runs of the server, again after a token is given.
async function begin() {
  if (runs.length) return;
  const server = await (await ask("/api/runs")).json();
  byId("length").max = server.max_length;
  prompt.maxLength = server.max_prompt;
  if (server.runs.some((run) => run.alphabet && [...prompt.value].some((c) => !run.alphabet.includes(c)))) prompt.value = "";
  for (const run of server.runs) runs.push(new Text(run));
  const gates = new Set(server.runs.flatMap((run) => run.gates));
  for (const name of gates) gate.append(new Option(`gate ${name}`, name));
  byId("colouring").hidden = gates.size === 0;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  begin().then(write).catch(showError);
});
stop.addEventListener("click", () => writing?.abort());
gate.addEventListener("change", () => runs.forEach((text) => text.rescale()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") writing?.abort();
  if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
});
begin().catch(showError);
