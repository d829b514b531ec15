// From aligned faces to calibrated probabilities: views of a face, their mean, and the temperature.

import { rows } from "./networks.js";
import { mirrored } from "./pixels.js";
import { warp } from "./warp.js";

const SIDES = { off: [1], flip: [1], flip_zoom: [1, 0.9] }; // what a view shows, as a share of the face's side

/** Return softmax(logits / temperature). */
export function softmax(logits, temperature = 1) {
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp((logit - highest) / temperature));
  const sum = powers.reduce((all, power) => all + power, 0);
  return powers.map((power) => power / sum);
}

/** Return for each face the probabilities of the classes; `model` is models/model.json. */
export async function probabilities(net, faces, { tta, temperature }) {
  if (!faces.length) return [];
  const answers = [];
  for (const face of faces) answers.push(pooled(rows((await net(views(face, tta))).logits)));
  return answers.map((logits) => softmax(logits, temperature));
}

function views(face, tta) {
  return SIDES[tta].flatMap((side) => {
    const shown = side === 1 ? face : zoomed(face, side);
    return tta === "off" ? [shown] : [shown, mirrored(shown)];
  });
}

/** Return logits whose softmax is the mean over the views. */
function pooled(logits) {
  if (logits.length === 1) return logits[0];
  const each = logits.map((view) => softmax(view));
  return logits[0].map((_, place) => Math.log(each.reduce((sum, view) => sum + view[place], 0) / each.length));
}

function zoomed(face, side) {
  const shift = ((1 - 1 / side) * (face.width - 1)) / 2;
  return warp(face, [1 / side, 0, shift, 0, 1 / side, shift], face.width);
}
