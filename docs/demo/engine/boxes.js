// Boxes: [x1, y1, x2, y2] in pixels. A candidate has a `box`, a `score` and a `regression`, in shares of the box's sides.

import { cut } from "./pixels.js";
import { resize } from "./resize.js";
import { rint } from "./rounding.js";

export const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

/** Return the candidate, its box where the regression puts it. */
export function regressed({ box: [x1, y1, x2, y2], regression, ...rest }) {
  const sides = [x2 - x1, y2 - y1, x2 - x1, y2 - y1];
  return { ...rest, box: [x1, y1, x2, y2].map((corner, index) => corner + sides[index] * regression[index]) };
}

/**
 * Cut the square around each box's centre out of an image.
 *
 * Returns the `squares` and what they show, `crops`, of `size` x `size` pixels; black outside the image. Squares are of
 * whole pixels; large ones, of whole pixels of the reduction that they are cut out of.
 */
export function cutSquares(reductions, boxes, size, zoom = 1) {
  const squares = [], crops = [];
  for (const [x1, y1, x2, y2] of boxes) {
    const wanted = Math.max(x2 - x1, y2 - y1) * zoom;
    const halvings = Math.max(Math.floor(Math.log2(Math.max(wanted, 1) / (2 * size))), 0);
    const unit = 2 ** halvings;
    const side = Math.max(rint(wanted / unit), 1);
    const x = rint((x1 + x2) / 2 / unit - side / 2), y = rint((y1 + y2) / 2 / unit - side / 2);
    squares.push([x * unit, y * unit, (x + side) * unit, (y + side) * unit]);
    crops.push(resize(cut(reductions.at(halvings), x, y, side, side), size, size, "area"));
  }
  return { squares, crops };
}

function shared(one, other) {
  const across = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(across, 0) * Math.max(down, 0);
}

/** The area that two boxes share, as a share of their union. */
export function overlap(one, other) {
  const both = shared(one, other);
  return both / (area(one) + area(other) - both);
}

/** The same as a share of the smaller box. */
const overlapOfSmaller = (one, other) => shared(one, other) / Math.min(area(one), area(other));

function suppressed(candidates, limit, share) {
  const kept = [];
  for (const each of [...candidates].sort((one, other) => other.score - one.score)) {
    if (kept.every((better) => share(better.box, each.box) <= limit)) kept.push(each);
  }
  return kept;
}

/** Non-maximum suppression: of two that share more than `limit` of their union, the one with the better score stays. */
export const nms = (candidates, limit) => suppressed(candidates, limit, overlap);

/** As `nms`, with a share of the smaller box: one inside another goes as well. */
export const nmsOfSmaller = (candidates, limit) => suppressed(candidates, limit, overlapOfSmaller);
