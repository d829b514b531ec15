// Images at other sizes, as OpenCV's cv2.resize makes them, up to the rounding of a grey level.

import { blank } from "./pixels.js";
import { rint } from "./rounding.js";

/** Return the image resized: `method` is "area" (INTER_AREA), "linear" or "cubic". */
export function resize(image, width, height, method) {
  if (width === image.width && height === image.height) return image;
  if (method !== "cubic" && image.width === 2 * width && image.height === 2 * height) return halved(image);
  if (method === "linear") return linear(image, width, height);
  const kind = method === "area" && (width > image.width || height > image.height) ? "enlarging area" : method;
  const across = TAPS[kind](image.width, width), down = TAPS[kind](image.height, height);
  const wide = new Float32Array(3 * width * image.height);
  for (let y = 0, to = 0; y < image.height; y++) {
    const row = 3 * y * image.width;
    for (let x = 0; x < width; x++, to += 3) {
      let r = 0, g = 0, b = 0;
      for (let tap = x * across.count; tap < (x + 1) * across.count; tap++) {
        const from = row + 3 * across.places[tap], weight = across.weights[tap];
        r += weight * image.data[from];
        g += weight * image.data[from + 1];
        b += weight * image.data[from + 2];
      }
      wide[to] = r;
      wide[to + 1] = g;
      wide[to + 2] = b;
    }
  }
  const made = blank(width, height);
  const row = new Float32Array(3 * width);
  for (let y = 0; y < height; y++) {
    row.fill(0);
    for (let tap = y * down.count; tap < (y + 1) * down.count; tap++) {
      const weight = down.weights[tap];
      if (weight === 0) continue;
      const from = row.length * down.places[tap];
      for (let x = 0; x < row.length; x++) row[x] += weight * wide[from + x];
    }
    made.data.set(row, y * row.length); // rounds, halves to even, and clips
  }
  return made;
}

const SCALE = 2048; // of OpenCV's whole numbers for weights

/** As OpenCV does it, to the grey level: in whole numbers, which drop what is below their last digit. */
function linear(image, width, height) {
  const across = linearPlaces(image.width, width), down = linearPlaces(image.height, height);
  const made = blank(width, height);
  const rows = [new Int32Array(3 * width), new Int32Array(3 * width)];
  for (let y = 0; y < height; y++) {
    [0, 1].forEach((which) => {
      const start = 3 * image.width * Math.min(down.low[y] + which, image.height - 1);
      for (let x = 0, to = 0; x < width; x++) {
        const left = start + 3 * across.low[x], right = start + 3 * Math.min(across.low[x] + 1, image.width - 1);
        const more = across.share[x], less = SCALE - more;
        for (let channel = 0; channel < 3; channel++) rows[which][to++] = less * image.data[left + channel] + more * image.data[right + channel];
      }
    });
    const more = down.share[y], less = SCALE - more;
    const [above, below] = rows;
    for (let x = 0, to = 3 * width * y; x < 3 * width; x++) made.data[to++] = (((less * (above[x] >> 4)) >> 16) + ((more * (below[x] >> 4)) >> 16) + 2) >> 2;
  }
  return made;
}

/** Return for each pixel of the result the first of the two that it lies between, and the second's share, of SCALE. */
function linearPlaces(from, to) {
  const places = { low: new Int32Array(to), share: new Int32Array(to) };
  for (let pixel = 0; pixel < to; pixel++) {
    const at = Math.fround(((pixel + 0.5) * from) / to - 0.5);
    const low = Math.floor(at);
    if (low < 0) continue;
    places.low[pixel] = Math.min(low, from - 1);
    places.share[pixel] = low >= from - 1 ? 0 : rint(SCALE * (at - low));
  }
  return places;
}

/** Return the image at half its sides, an odd last row or column left out. */
export function halved(image) {
  const width = Math.max(image.width >> 1, 1), height = Math.max(image.height >> 1, 1);
  if (image.width < 2 || image.height < 2) return resize(image, width, height, "area");
  const made = blank(width, height);
  const below = 3 * image.width;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = 2 * y * below; x < width; x++, from += 6) {
      for (let channel = from; channel < from + 3; channel++) {
        made.data[to++] = (image.data[channel] + image.data[channel + 3] + image.data[channel + below] + image.data[channel + below + 3] + 2) >> 2;
      }
    }
  }
  return made;
}

/** The pixels that a pixel of the result is made of, along one axis: `count` places and their weights for each. */
class Taps {
  constructor(size, count) {
    this.count = count;
    this.places = new Int32Array(size * count);
    this.weights = new Float32Array(size * count);
  }

  set(pixel, number, place, weight, last) {
    this.places[pixel * this.count + number] = Math.min(Math.max(place, 0), last); // the edge is repeated
    this.weights[pixel * this.count + number] = weight;
  }
}

/** Each pixel of the result is the mean of what lies below it; pixels on its edge count by their share. */
function areaTaps(from, to) {
  const scale = from / to;
  const taps = new Taps(to, Math.ceil(scale) + 2);
  for (let pixel = 0; pixel < to; pixel++) {
    const low = pixel * scale, high = low + scale;
    const wide = Math.min(scale, from - low);
    const last = Math.min(Math.floor(high), from - 1), first = Math.min(Math.ceil(low), last);
    let number = 0;
    if (first - low > 1e-3) taps.set(pixel, number++, first - 1, (first - low) / wide, from - 1);
    for (let place = first; place < last; place++) taps.set(pixel, number++, place, 1 / wide, from - 1);
    if (high - last > 1e-3) taps.set(pixel, number, last, Math.min(high - last, 1, wide) / wide, from - 1);
  }
  return taps;
}

function between(from, to, place) {
  const taps = new Taps(to, 2);
  for (let pixel = 0; pixel < to; pixel++) {
    const [low, share] = place(pixel);
    taps.set(pixel, 0, low, 1 - share, from - 1);
    taps.set(pixel, 1, low + 1, share, from - 1);
  }
  return taps;
}

/** OpenCV's INTER_AREA where an image grows: blocks with short slopes between them. */
function enlargingAreaTaps(from, to) {
  return between(from, to, (pixel) => {
    const low = Math.floor((pixel * from) / to);
    const share = pixel + 1 - ((low + 1) * to) / from;
    return [low, share <= 0 ? 0 : share - Math.floor(share)];
  });
}

function cubicTaps(from, to) {
  const taps = new Taps(to, 4);
  for (let pixel = 0; pixel < to; pixel++) {
    const at = ((pixel + 0.5) * from) / to - 0.5;
    const low = Math.floor(at);
    cubicWeights(at - low).forEach((weight, number) => taps.set(pixel, number, low - 1 + number, weight, from - 1));
  }
  return taps;
}

const BEND = -0.75; // OpenCV's choice of the free parameter

/** Return the weights of the four pixels around a place that lies `share` behind the second. */
export function cubicWeights(share) {
  const outer = (x) => ((BEND * x - 5 * BEND) * x + 8 * BEND) * x - 4 * BEND;
  const inner = (x) => ((BEND + 2) * x - (BEND + 3)) * x * x + 1;
  const weights = [outer(share + 1), inner(share), inner(1 - share)];
  return [...weights, 1 - weights[0] - weights[1] - weights[2]];
}

const TAPS = { area: areaTaps, "enlarging area": enlargingAreaTaps, cubic: cubicTaps };
