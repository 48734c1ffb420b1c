// Lines on the sheet: those of the user, and those of the model, drawn point by point and coloured by how much weights moved.

const SPACE = "http://www.w3.org/2000/svg";
const SPEED = 140; // units that the model's pen moves in a second
export const FULL = 0.6; // the change that gets the full colour

const line = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

function path(points, className) {
  const made = document.createElementNS(SPACE, "path");
  // a stroke of one point is a dot: a line of no length with round ends
  made.setAttribute("d", line(points.length > 1 ? points : [points[0], points[0]]));
  if (className) made.setAttribute("class", className);
  return made;
}

export function showGiven(ink, strokes) {
  ink.replaceChildren(...strokes.map((stroke) => path(stroke, "given")));
}

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

// Add what the model drew to the sheet, at the speed of a pen. Resolves when it is complete or `signal` ends it.
export async function showDrawing(ink, { points, given }, signal) {
  let last = null;
  let start = performance.now();
  let waited = 0; // milliseconds of the pen's way so far
  for (const [k, { x, y, lifted, change }] of points.entries()) {
    const before = points[k - 1];
    const made = path(before && !before.lifted ? [[before.x, before.y], [x, y]] : [[x, y]], k < given ? "given" : "");
    if (change !== null && change !== undefined) {
      const share = Math.min(1, change / FULL) * 100;
      made.style.stroke = `color-mix(in oklab, var(--moved) ${share.toFixed(0)}%, var(--still))`;
    }
    if (k >= given && last && !reduced.matches) {
      waited += (Math.hypot(x - last[0], y - last[1]) / SPEED) * 1000;
      const left = start + waited - performance.now();
      if (left > 4) await new Promise((done) => setTimeout(done, left));
      if (signal.aborted) return;
    } else if (k < given) {
      start = performance.now();
    }
    ink.append(made);
    last = [x, y];
  }
}

// The sheet as an SVG file of its own.
export function file(svg, attribution) {
  const style = getComputedStyle(document.documentElement);
  const copy = svg.querySelector("#ink").cloneNode(true);
  for (const [k, each] of [...svg.querySelectorAll("#ink path")].entries()) {
    copy.children[k].setAttribute("stroke", getComputedStyle(each).stroke);
    copy.children[k].removeAttribute("style");
    copy.children[k].removeAttribute("class");
  }
  const text = document.createElement("text");
  text.textContent = attribution;
  return (
    `<svg xmlns="${SPACE}" viewBox="0 0 100 106"><rect width="100" height="106" fill="${style.getPropertyValue("--sheet").trim()}"/>` +
    `<g fill="none" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">${copy.innerHTML}</g>` +
    `<text x="50" y="104" font-size="2.6" font-family="sans-serif" text-anchor="middle" fill="${style.getPropertyValue("--faint").trim()}">${text.innerHTML}</text></svg>`
  );
}
