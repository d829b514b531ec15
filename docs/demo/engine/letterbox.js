// An image in a black border, reduced if it is large, and the way back to its own pixels.

import { cut } from "./pixels.js";
import { Reductions } from "./reductions.js";
import { resize } from "./resize.js";
import { rint } from "./rounding.js";

const MAX_SIDE = 1280; // px, the longest side in which faces are looked for

export class Letterbox {
  /** `border` is the border's width as a share of each side. */
  constructor(image, border) {
    const longest = Math.max(image.width, image.height);
    const factor = Math.min(longest, MAX_SIDE) / longest;
    let inner = image;
    if (factor < 1) {
      const size = [image.width, image.height].map((side) => Math.max(1, rint(side * factor)));
      inner = resize(new Reductions(image).before(1 / factor), ...size, "linear");
    }
    const left = rint(border * inner.width), top = rint(border * inner.height);
    this.image = cut(inner, -left, -top, inner.width + 2 * left, inner.height + 2 * top);
    this.inside = [left, top, left + inner.width, top + inner.height];
    this.scale = [inner.width / image.width, inner.height / image.height];
  }

  /** Return points or corners, x and y by turns, in pixels of the image. */
  toImage(places) {
    return places.map((place, index) => (place - this.inside[index % 2]) / this.scale[index % 2]);
  }
}
