// P-Net over an image at many sizes, so that faces of all sizes fit its one window.

import { nms, regressed } from "./boxes.js";
import { cut } from "./pixels.js";
import { resize } from "./resize.js";

const WINDOW = 12; // px
const STRIDE = 2; // px
const STEP = 0.709; // from one size to the next: half the area
const PROPOSED = 0.6; // the probability that lets a window through
const MULTIPLE = 16; // sides are filled up to it, as the service does it
const LARGE = 640 * 640; // px; from here on the first reduction begins with halves

/** An image, or a part of it, at a size at which faces of `face` px (of the image) fit the window. */
class Level {
  constructor(image, face, scale, corner = [0, 0]) {
    Object.assign(this, { image, face, scale, corner });
  }

  /** Return the part between these corners, in pixels of the image, moved to P-Net's grid. */
  part(x1, y1, x2, y2) {
    const here = (value, axis) => value / this.scale[axis] - this.corner[axis];
    const begin = (value) => Math.floor(Math.trunc(Math.max(value, 0)) / STRIDE) * STRIDE;
    const within = (value, low, high) => Math.min(Math.max(Math.ceil(value), low), high);
    const left = begin(here(x1, 0)), top = begin(here(y1, 1));
    const right = Math.min(within(here(x2, 0), left, this.image.width), this.image.width);
    const bottom = Math.min(within(here(y2, 1), top, this.image.height), this.image.height);
    const image = cut(this.image, left, top, Math.max(right - left, 0), Math.max(bottom - top, 0));
    return new Level(image, this.face, this.scale, [this.corner[0] + left, this.corner[1] + top]);
  }
}

/** Return an image at the sizes for faces of `smallest` px and more, largest size first. */
export function pyramid(reductions, smallest) {
  const { width, height } = reductions.at(0);
  const levels = [];
  let scale = WINDOW / smallest;
  let image = reductions.at(0);
  if (width * height > LARGE) image = reductions.before(1 / scale);
  for (; Math.min(width, height) * scale >= WINDOW; scale *= STEP) {
    const size = [Math.trunc(width * scale) + 1, Math.trunc(height * scale) + 1];
    image = resize(image, ...size, "area"); // of the previous size, which is faster
    levels.push(new Level(image, WINDOW / scale, [width / size[0], height / size[1]]));
  }
  return levels;
}

/** Return the windows of all levels that P-Net accepts: candidates in pixels of the image. */
export async function windows(pNet, levels) {
  const found = [];
  for (const level of levels) {
    if (Math.min(level.image.width, level.image.height) >= 1) found.push(...(await accepted(pNet, level)));
  }
  return found;
}

/** Return candidates where a face may be, each where its window's regression puts it. */
export const propose = (found) => nms(found, 0.7).map(regressed);

async function accepted(pNet, level) {
  const full = (side) => Math.ceil(side / MULTIPLE) * MULTIPLE;
  const { probabilities, regression } = await pNet([cut(level.image, 0, 0, full(level.image.width), full(level.image.height))]);
  const [, , height, width] = probabilities.dims;
  const cells = height * width;
  const found = [];
  for (let cell = 0; cell < cells; cell++) {
    const score = probabilities.data[cells + cell]; // the second channel: a face
    if (score < PROPOSED) continue;
    const x = STRIDE * (cell % width), y = STRIDE * Math.floor(cell / width);
    found.push({
      score,
      box: [x, y, x + WINDOW, y + WINDOW],
      regression: [0, 1, 2, 3].map((side) => regression.data[side * cells + cell]),
    });
  }
  return nms(found, 0.5).map((each) => ({
    ...each,
    box: each.box.map((side, index) => (side + level.corner[index % 2]) * level.scale[index % 2]),
  }));
}
