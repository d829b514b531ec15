// An image under an affine transform, as OpenCV's cv2.warpAffine makes it, up to rounding.

import { blank } from "./pixels.js";
import { cubicWeights } from "./resize.js";

const linearWeights = (share) => [1 - share, share];

/**
 * Return `size` x `size` pixels: the pixel at (x, y) of the image, counted from pixel centres, goes to
 * (a x + b y + c, d x + e y + f), `matrix` being [a, b, c, d, e, f]. The edge is repeated.
 */
export function warp(image, matrix, size, { cubic = false } = {}) {
  const [a, b, c, d, e, f] = matrix;
  const area = a * e - b * d;
  const made = blank(size, size);
  const weightsOf = cubic ? cubicWeights : linearWeights;
  const before = cubic ? 1 : 0;
  const within = (value, side) => Math.min(Math.max(value, 0), side - 1);
  for (let y = 0, to = 0; y < size; y++) {
    for (let x = 0; x < size; x++, to += 3) {
      const atX = (e * (x - c) - b * (y - f)) / area, atY = (a * (y - f) - d * (x - c)) / area;
      const left = Math.floor(atX), top = Math.floor(atY);
      const across = weightsOf(atX - left), down = weightsOf(atY - top);
      let red = 0, green = 0, blue = 0;
      for (let row = 0; row < down.length; row++) {
        const start = within(top - before + row, image.height) * image.width;
        for (let column = 0; column < across.length; column++) {
          const from = 3 * (start + within(left - before + column, image.width));
          const weight = down[row] * across[column];
          red += weight * image.data[from];
          green += weight * image.data[from + 1];
          blue += weight * image.data[from + 2];
        }
      }
      made.data[to] = red;
      made.data[to + 1] = green;
      made.data[to + 2] = blue;
    }
  }
  return made;
}
