// MTCNN, Zhang et al. 2016: a cascade of three small networks, each stricter than the one before it.
//
// Step by step what ferops.faces.detectors.mtcnn does, whose comments have the reasons and docs/detectors.md the figures.

import { area, nms, nmsOfSmaller, regressed } from "./boxes.js";
import { SAME_FACE, asked, judge, located } from "./judge.js";
import { Letterbox } from "./letterbox.js";
import { propose, pyramid, windows } from "./pyramid.js";
import { Reductions } from "./reductions.js";

export const CROP_SIDE = 200; // px; images up to it are crops around a face
const BORDER = { crop: 0.25, photo: 0.125, second: 0.5 }; // shares of the sides
export const SMALLEST = { share: 0.2, low: 20, high: 36 }; // share of the longest side, px
const LARGE_SHARE = 0.19; // faces of this share are looked for first
const REFINED = 0.7;
const SURE = 0.9; // a face that may stand for what lies inside its box

export class Mtcnn {
  constructor({ pNet, rNet, oNet, minConfidence }) {
    Object.assign(this, { pNet, rNet, oNet, minConfidence });
  }

  /** Return the faces, largest first: `box`, `landmarks` (x and y by turns) in pixels of the image, and `score`. */
  async detect(image) {
    const longest = Math.max(image.width, image.height);
    const smallest = Math.min(Math.max(SMALLEST.share * longest, SMALLEST.low), SMALLEST.high);
    if (longest > CROP_SIDE) return this.cascade(image, BORDER.photo, smallest);
    const found = await this.cascade(image, BORDER.crop, smallest);
    return found.length ? found : this.cascade(image, BORDER.second, smallest);
  }

  async cascade(image, border, smallest) {
    const framed = new Letterbox(image, border);
    const reductions = new Reductions(framed.image);
    const found = await this.search(reductions, framed.inside, smallest);
    return located(this.oNet, reductions, framed, found);
  }

  /** Search for large faces, and for smaller ones where those leave room. */
  async search(reductions, inside, smallest) {
    const levels = pyramid(reductions, smallest);
    const large = LARGE_SHARE * Math.max(inside[2] - inside[0], inside[3] - inside[1]);
    const fine = levels.filter((level) => level.face < large).map((level) => near(level, inside));
    const coarse = await windows(this.pNet, levels.slice(fine.length));
    const found = await this.judge(reductions, propose(coarse));
    if (!fine.length) return found;
    const sure = found.filter(({ score }) => score >= SURE);
    if (!sure.length) return this.judge(reductions, propose([...(await windows(this.pNet, fine)), ...coarse]));
    const largest = sure.reduce((best, each) => (area(each.box) > area(best.box) ? each : best)).box;
    const small = propose(await windows(this.pNet, fine.flatMap((level) => beside(level, largest, inside))));
    const more = await this.judge(reductions, small.filter(({ box }) => !sure.some((face) => covers(face.box, box))));
    return nmsOfSmaller([...found, ...more], SAME_FACE);
  }

  async judge(reductions, candidates) {
    return judge(this.oNet, reductions, await this.refine(reductions, candidates), this.minConfidence);
  }

  async refine(reductions, candidates) {
    const judged = await asked(this.rNet, reductions, candidates, 24);
    return nms(judged.filter(({ score }) => score > REFINED), 0.7).map(regressed);
  }
}

function covers([x1, y1, x2, y2], [left, top, right, bottom]) {
  const x = (left + right) / 2, y = (top + bottom) / 2;
  return x > x1 && y > y1 && x < x2 && y < y2;
}

/** Return the part of a level in which a window shows some of the image, and not only its border. */
function near(level, inside) {
  const room = level.face;
  return level.part(inside[0] - room, inside[1] - room, inside[2] + room, inside[3] + room);
}

/** Return the parts to the left, to the right, above and below a face that have room for another. */
function beside(level, [x1, y1, x2, y2], inside) {
  const room = level.face / 2;
  const left = inside[0] - room, top = inside[1] - room, right = inside[2] + room, bottom = inside[3] + room;
  return [
    x1 - inside[0] >= level.face && level.part(left, top, x1 + room, bottom),
    inside[2] - x2 >= level.face && level.part(x2 - room, top, right, bottom),
    y1 - inside[1] >= level.face && level.part(x1 - room, top, x2 + room, y1 + room),
    inside[3] - y2 >= level.face && level.part(x1 - room, y2 - room, x2 + room, bottom),
  ].filter(Boolean);
}
