// An image at a half, a quarter, an eighth of its sides, each made when it is first asked for.

import { halved } from "./resize.js";

export class Reductions {
  constructor(image) {
    this.images = [image];
  }

  /** Return the image with its sides halved so often. */
  at(halvings) {
    while (this.images.length <= halvings) this.images.push(halved(this.images.at(-1)));
    return this.images[halvings];
  }

  /** Return the image halved as often as leaves less than 2 of a reduction by `factor`. */
  before(factor) {
    const shortest = Math.min(this.images[0].width, this.images[0].height);
    return this.at(Math.max(0, Math.floor(Math.log2(Math.min(factor, shortest)))));
  }
}
