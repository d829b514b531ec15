// Five landmarks of each face: the mean of what O-Net says of the face and of its mirror image.

import { cutSquares } from "./boxes.js";
import { rows } from "./networks.js";
import { mirrored } from "./pixels.js";

const INPUT = 48; // px, of O-Net
const ZOOM = 0.85; // of the square that it sees
const MIRRORED = [1, 0, 2, 4, 3]; // left and right change places

/** Return for each box x and y, by turns, of left eye, right eye, nose, left and right mouth corner. */
export async function findLandmarks(oNet, reductions, boxes) {
  if (!boxes.length) return [];
  const { squares, crops } = cutSquares(reductions, boxes, INPUT, ZOOM);
  const points = rows((await oNet([...crops, ...crops.map(mirrored)])).landmarks); // five x, then five y
  return squares.map(([left, top, right], index) => {
    const straight = points[index], other = points[boxes.length + index];
    return MIRRORED.flatMap((twin, place) => {
      const x = (straight[place] + 1 - other[twin]) / 2, y = (straight[5 + place] + other[5 + twin]) / 2;
      return [left + x * (right - left), top + y * (right - left)];
    });
  });
}
