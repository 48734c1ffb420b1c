// The sheet that the user draws on, with mouse, pen, finger or keys. It holds strokes of points [x, y] on a square of 100 units.

const STEP = 4; // units that an arrow key moves the pen

// changed: () => called whenever the user has added to the strokes or removed some.
export function pad(svg, pen, changed) {
  const strokes = [];
  let open = null; // the stroke that is being drawn
  let place = [50, 50];
  let byKeys = false;

  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * 100, ((event.clientY - box.top) / box.height) * 100];
  };

  const showPen = () => {
    pen.hidden = !byKeys;
    pen.setAttribute("cx", place[0]);
    pen.setAttribute("cy", place[1]);
    pen.classList.toggle("down", open !== null);
  };

  function begin(point) {
    open = [point];
    strokes.push(open);
    changed();
  }

  function end() {
    open = null;
    showPen();
    changed();
  }

  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    byKeys = false;
    svg.setPointerCapture(event.pointerId);
    begin(at(event));
    showPen();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!open || byKeys) return;
    // a pen reports several places between two frames
    for (const each of event.getCoalescedEvents?.() ?? [event]) open.push(at(each));
    changed();
  });
  for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => open && !byKeys && end());

  const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  svg.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move) {
      place = place.map((value, k) => Math.min(100, Math.max(0, value + move[k])));
      if (open) open.push([...place]);
    } else if (event.key === " ") {
      byKeys = true;
      open ? end() : begin([...place]);
    } else return;
    byKeys = true;
    event.preventDefault();
    showPen();
    changed();
  });
  svg.addEventListener("blur", () => {
    if (open && byKeys) end();
    byKeys = false;
    showPen();
  });

  return {
    strokes,
    undo() {
      open = null;
      strokes.pop();
      changed();
    },
    clear() {
      open = null;
      strokes.length = 0;
      changed();
    },
  };
}
