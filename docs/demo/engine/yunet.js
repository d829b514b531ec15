// YuNet proposes faces, MTCNN's output network judges them: the faces that MTCNN finds, in less time.
//
// Step by step what ferops.faces.detectors.yunet does, whose comments have the reasons and docs/detectors.md the figures.

import { nms } from "./boxes.js";
import { facesAmong, located, lookAt } from "./judge.js";
import { Letterbox } from "./letterbox.js";
import { CROP_SIDE, SMALLEST } from "./mtcnn.js";
import { cut } from "./pixels.js";
import { Reductions } from "./reductions.js";
import { resize } from "./resize.js";
import { rint } from "./rounding.js";

const SIDE = { low: 160, high: 288 }; // px, border included
const BORDER = { crop: 0.25, photo: 0.06 }; // shares of the longest side
const SMALLEST_SEEN = { once: 22, again: 18 }; // px
const PROPOSED = 0.1;
const SIZES = [0.85, 1.1];
const UNSURE = [0.05, 0.9]; // between them, the second size is looked at, too
const STRIDES = [32, 16, 8]; // px, of the network's grids

export class Yunet {
  /** `mtcnn` looks where proposals come to nothing. */
  constructor({ net, mtcnn }) {
    Object.assign(this, { net, mtcnn });
  }

  /** As `Mtcnn.detect`. */
  async detect(image) {
    const { oNet, minConfidence } = this.mtcnn;
    const framed = new Letterbox(image, 0);
    const reductions = new Reductions(framed.image);
    const proposals = await this.propose(reductions);
    const inSize = (factor) => ({ box }) => ({ box: enlarged(box, factor) });
    const once = await lookAt(oNet, reductions, proposals.map(inSize(SIZES[0])));
    const unsure = proposals.filter((_, place) => once[place].score >= UNSURE[0] && once[place].score < UNSURE[1]);
    const again = await lookAt(oNet, reductions, unsure.map(inSize(SIZES[1])));
    const found = facesAmong([...once, ...again], minConfidence);
    if (proposals.length && !found.length) return this.mtcnn.detect(image);
    return located(oNet, reductions, framed, found);
  }

  async propose(reductions) {
    const found = [];
    for (const view of views(reductions)) found.push(...(await this.marks(view)));
    return nms(found, 0.3);
  }

  /** Return what the network marks in a view, in pixels of the image. */
  async marks({ image, scale, border }) {
    const grids = await this.net([image]);
    return STRIDES.flatMap((stride) => {
      const { data, dims: [, , height, width] } = grids[`stride_${stride}`];
      const cells = height * width;
      const marked = [];
      for (let cell = 0; cell < cells; cell++) {
        const against = [0, 1].map((channel) => Math.exp(-Math.max(data[channel * cells + cell], -40)));
        const score = 1 / Math.sqrt((1 + against[0]) * (1 + against[1]));
        if (score < PROPOSED) continue;
        const [x, y, logWidth, logHeight] = [2, 3, 4, 5].map((channel) => data[channel * cells + cell]);
        const middle = [(cell % width) + x, Math.floor(cell / width) + y];
        const half = [Math.exp(logWidth) / 2, Math.exp(logHeight) / 2];
        const box = [-1, -1, 1, 1].map((side, index) => Math.fround((stride * (middle[index % 2] + side * half[index % 2]) - border) / scale[index % 2]));
        marked.push({ score, box });
      }
      return marked;
    });
  }
}

function enlarged([x1, y1, x2, y2], factor) {
  const x = (x1 + x2) / 2, y = (y1 + y2) / 2;
  const across = ((x2 - x1) * factor) / 2, down = ((y2 - y1) * factor) / 2;
  return [x - across, y - down, x + across, y + down];
}

/** Return an image at the sizes at which YuNet looks at it: `image` in its black `border`, and `scale` along x and y. */
function views(reductions) {
  const { width, height } = reductions.at(0);
  const longest = Math.max(width, height);
  const share = longest > CROP_SIDE ? BORDER.photo : BORDER.crop;
  const [low, high] = [SIDE.low, SIDE.high].map((side) => side / ((1 + 2 * share) * longest));
  const [once, again] = [SMALLEST_SEEN.once, SMALLEST_SEEN.again].map((pixels) => pixels / SMALLEST.high);
  const scale = once <= high ? Math.max(low, once) : low;
  const found = [view(reductions, scale, rint(scale * share * longest))];
  return once > high ? [...found, view(reductions, again, SMALLEST_SEEN.again)] : found;
}

function view(reductions, scale, border) {
  const { width, height } = reductions.at(0);
  const size = [width, height].map((side) => Math.max(1, rint(side * scale)));
  const inner = resize(reductions.before(Math.max(1 / scale, 1)), ...size, "linear");
  const full = size.map((side) => Math.ceil((side + 2 * border) / STRIDES[0]) * STRIDES[0]);
  return { image: cut(inner, -border, -border, ...full), scale: [size[0] / width, size[1] / height], border };
}
