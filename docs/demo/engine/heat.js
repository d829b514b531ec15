// What in a face spoke for its label: parts of it are blurred in turn. ferops.inference.occlusion has the reasons.

import { probabilities } from "./classify.js";
import { blank } from "./pixels.js";

const POSITIONS = 7; // a side
const PATCH = 1 / 4; // of the face's side
const BLUR = 1 / 12; // the blur's sigma, of the face's side
const LEAST = 1e-7;
const CELLS = 12; // a side of the grid that is returned

/** Return `cells`, rows from the top, 0 to 1, and `fall`; `label` is the place of the class, `model` as in classify.js. */
export async function heatOf(net, face, label, model) {
  const side = face.width;
  const strips = stripsOf(side);
  const blurred = blurredOf(face, BLUR * side);
  const hidden = strips.flatMap((down) => strips.map((across) => mixed(face, blurred, down, across)));
  const answers = await probabilities(net, [face, ...hidden], model);
  const odds = answers.map((answer) => logOdds(answer, label));
  const falls = odds.slice(1).map((each) => odds[0] - each);
  const sums = Array.from({ length: side }, (_, at) => strips.reduce((sum, strip) => sum + strip[at], 0));
  const heat = (x, y) => Math.max(0, strips.reduce((all, down, row) => (down[y] === 0 ? all
    : all + down[y] * strips.reduce((sum, across, column) => sum + across[x] * falls[POSITIONS * row + column], 0)), 0)) / (sums[x] * sums[y]);
  const values = Array.from({ length: side }, (_, y) => Array.from({ length: side }, (__, x) => heat(x, y)));
  const highest = Math.max(...values.flat(), LEAST);
  const deepest = answers[0][label] - Math.min(...answers.slice(1).map((answer) => answer[label]));
  return { method: "occlusion", cells: means(values).map((row) => row.map((value) => value / highest)), fall: Math.max(deepest, 0) };
}

/** Return how much each pixel of a row belongs to each patch, 0-1, with soft edges. */
function stripsOf(side) {
  const soft = side / 48;
  return Array.from({ length: POSITIONS }, (_, position) => Array.from({ length: side }, (__, at) => {
    const away = Math.abs(at + 0.5 - ((position + 0.5) * side) / POSITIONS);
    return Math.min(Math.max(((PATCH * side) / 2 + soft - away) / (2 * soft), 0), 1);
  }));
}

function mixed(face, blurred, down, across) {
  const made = blank(face.width, face.height);
  for (let at = 0; at < made.data.length; at++) {
    const pixel = Math.floor(at / 3);
    const share = down[Math.floor(pixel / face.width)] * across[pixel % face.width];
    made.data[at] = face.data[at] + share * (blurred.data[at] - face.data[at]); // rounds
  }
  return made;
}

/** As OpenCV's cv2.GaussianBlur, up to rounding: what lies outside is the inside, mirrored at the edge pixel. */
function blurredOf(image, sigma) {
  const reach = Math.round(6 * sigma + 1) >> 1;
  const weights = Array.from({ length: 2 * reach + 1 }, (_, at) => Math.exp(-((at - reach) ** 2) / (2 * sigma ** 2)));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const { width, height } = image;
  const mirrored = (at, side) => {
    const around = Math.max(2 * (side - 1), 1), place = ((at % around) + around) % around;
    return place < side ? place : around - place;
  };
  const pass = (from, step, count, line, lines) => {
    const to = new Float64Array(from.length);
    for (let row = 0; row < lines; row++) {
      for (let at = 0; at < count; at++) {
        for (let channel = 0; channel < 3; channel++) {
          let sum = 0;
          for (let tap = -reach; tap <= reach; tap++) sum += weights[tap + reach] * from[3 * (row * line + mirrored(at + tap, count) * step) + channel];
          to[3 * (row * line + at * step) + channel] = sum / whole;
        }
      }
    }
    return to;
  };
  const made = blank(width, height);
  made.data.set(pass(pass(image.data, 1, width, width, height), width, height, 1, width));
  return made;
}

function logOdds(answer, label) {
  const others = answer.reduce((sum, value, place) => (place === label ? sum : sum + value), 0);
  return Math.log(Math.max(answer[label], LEAST)) - Math.log(Math.max(others, LEAST));
}

/** Return the means over CELLS x CELLS equal parts; pixels on an edge count by their share. */
function means(values) {
  const part = values.length / CELLS;
  const share = (cell, at) => Math.max(0, Math.min((cell + 1) * part, at + 1) - Math.max(cell * part, at)) / part;
  const along = (row) => Array.from({ length: CELLS }, (_, cell) => row.reduce((sum, value, at) => sum + share(cell, at) * value, 0));
  const wide = values.map(along);
  const columns = Array.from({ length: CELLS }, (_, column) => along(wide.map((row) => row[column])));
  return Array.from({ length: CELLS }, (_, row) => columns.map((column) => column[row]));
}
