// The scales d_h of a step: their numbers, and a strip of colours with one column for each row of W_h.

const QUANTILE = 0.95; // scales from this quantile of a step up get the full colour
const ABOVE = [240, 116, 22]; // the colours of scales above and below 0, which are transparent where a scale is 0
const BELOW = [44, 116, 214];

// The number that 16 bits stand for.
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  const size = exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
  return bits & 0x8000 ? -size : size;
}

// Numbers as the server sends them, an array for each gate.
export function decode(base64, gates) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const numbers = Float32Array.from({ length: bytes.length / 2 }, (_, k) => half(view.getUint16(2 * k, true)));
  const rows = numbers.length / gates;
  return Array.from({ length: gates }, (_, gate) => numbers.subarray(gate * rows, (gate + 1) * rows));
}

// How far from 0 the colours of a step's scales should reach.
export function reach(scales) {
  const sizes = Float32Array.from(scales.flatMap((gate) => [...gate]), Math.abs).sort();
  return sizes[Math.floor(QUANTILE * (sizes.length - 1))];
}

// Draw the scales of a gate, from -reach to reach.
export function draw(canvas, scales, reach) {
  if (canvas.width !== scales.length) canvas.width = scales.length;
  const pixels = new ImageData(scales.length, 1);
  scales.forEach((scale, row) => {
    const alpha = 255 * Math.min(1, Math.abs(scale) / (reach || 1));
    pixels.data.set([...(scale < 0 ? BELOW : ABOVE), alpha], 4 * row);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
