// What in a face spoke for its label: a map over the crop that the model saw, asked for by a button on the card.

import { $, element } from "./dom.js";

const SIDE = 288; // px of the canvas; twice what is shown
const COLOURS = [[13, 8, 135], [156, 23, 158], [237, 121, 83], [240, 249, 33]]; // plasma, of matplotlib
const PLACES = [["upper", "middle", "lower"], ["left", "middle", "right"]];

/** Show on a card the figure that `make` returns, or hide the one that is shown; say why where there is none. */
export async function toggle(why, make) {
  const shown = why.parentElement.querySelector(".heat");
  shown?.remove();
  why.setAttribute("aria-expanded", "false");
  if (shown) return;
  why.disabled = true;
  try {
    why.after(await make());
    why.setAttribute("aria-expanded", "true");
  } catch (error) {
    if (error.name !== "AbortError") $("done").textContent = error.message;
  } finally {
    why.disabled = false;
  }
}

/** Return the answer with heat map and crop at each face, where the service has explained it. */
export function explained(answer) {
  const { heat, crops } = answer.extras;
  return { ...answer, faces: answer.faces.map((face, index) => ({ ...face, heat: heat[index], crop: `data:image/png;base64,${crops[index]}` })) };
}

/** Return [r, g, b] of a value of 0-1. */
function colour(value) {
  const at = value * (COLOURS.length - 1);
  const low = Math.min(Math.floor(at), COLOURS.length - 2);
  return COLOURS[low].map((from, channel) => from + (at - low) * (COLOURS[low + 1][channel] - from));
}

/** Return the third of the face with the most heat, in words. */
function hottest(cells) {
  const thirds = [0, 1, 2].flatMap((down) => [0, 1, 2].map((across) => ({
    where: down === 1 && across === 1 ? "middle" : `${PLACES[0][down]} ${PLACES[1][across]}`,
    sum: cells.reduce((all, row, y) => all + row.reduce((some, value, x) =>
      some + (Math.floor((3 * y) / cells.length) === down && Math.floor((3 * x) / row.length) === across ? value : 0), 0), 0),
  })));
  return thirds.reduce((best, third) => (third.sum > best.sum ? third : best)).where;
}

const points = (fall) => (fall < 0.015 ? "1 point at most" : `up to ${Math.round(100 * fall)} points`);

/** Return the figure: `crop` is the address of an image, `label` what the face was called. */
export async function figure(heat, crop, label) {
  const face = new Image();
  face.src = crop;
  await face.decode();
  const found = heat.fall > 0
    ? `Most spoke for ${label} in the ${hottest(heat.cells)} of the face, as seen. Blurring a part lowers its probability by ${points(heat.fall)}.`
    : `No part of the face alone spoke for ${label}.`;
  const canvas = element("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": `Heat map: ${found}` });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.filter = "grayscale(1)"; // the colours are the map's
  context.drawImage(face, 0, 0, SIDE, SIDE);
  context.filter = "none";
  context.drawImage(map(heat.cells), 0, 0, SIDE, SIDE);
  return element("div", { class: "heat" }, canvas,
    element("p", { class: "legend" }, "nothing ", element("i", { class: "scale", "aria-hidden": "true" }), ` spoke most for “${label}”`),
    element("p", { class: "meta" }, `${found} Parts of the face were blurred in turn, and the model asked again.`));
}

function map(cells) {
  const canvas = element("canvas", { width: cells[0].length, height: cells.length });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  cells.flat().forEach((value, index) => pixels.data.set([...colour(value), 40 + 150 * value], 4 * index));
  context.putImageData(pixels, 0, 0);
  return canvas;
}
