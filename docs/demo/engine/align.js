// From landmarks to a square, upright face, as the training faces were cut. ferops.faces.align has the reasons.

import { cutRepeating } from "./pixels.js";
import { resize } from "./resize.js";
import { warp } from "./warp.js";

/** Where the landmarks belong in a unit square without margin. */
const TEMPLATE = [[0.2625, 0.3625], [0.7375, 0.3625], [0.5, 0.625], [0.3, 0.856], [0.7, 0.856]];

const RIGID = [0, 1, 2]; // eyes and nose
const ALL = [0, 1, 2, 3, 4];
const FITTED = { steady_scale: [ALL, RIGID], five_points: [ALL, ALL], eyes_nose: [RIGID, RIGID] }; // for angle, for size and place

const pairs = (landmarks) => ALL.map((place) => [landmarks[2 * place], landmarks[2 * place + 1]]);
const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
const centred = (points) => {
  const [x, y] = mean(points);
  return points.map((point) => [point[0] - x, point[1] - y]);
};

/** Sums over pairs of centred points, as complex numbers: conj(s) t, and |s|^2. */
function products(source, target) {
  const s = centred(source), t = centred(target);
  let real = 0, imaginary = 0, norm = 0;
  s.forEach(([x, y], index) => {
    const [u, v] = t[index];
    real += x * u + y * v;
    imaginary += x * v - y * u;
    norm += x * x + y * y;
  });
  return { real, imaginary, norm };
}

/** Return [a, b, c, d, e, f] of scaling and rotation by the complex factor, with the shift that takes mean to mean. */
function around(real, imaginary, source, target) {
  const [x, y] = mean(source), [u, v] = mean(target);
  return [real, -imaginary, u - real * x + imaginary * y, imaginary, real, v - imaginary * x - real * y];
}

/** Return the similarity transform (Umeyama 1991) from pixels of the image to those of the aligned face. */
export function toTemplate(landmarks, { size, margin, fit }) {
  const points = pairs(landmarks);
  const target = TEMPLATE.map((point) => point.map((value) => (margin + (1 - 2 * margin) * value) * size));
  const [forAngle, forSize] = FITTED[fit].map((places) => [places.map((place) => points[place]), places.map((place) => target[place])]);
  const angle = products(...forAngle);
  const length = Math.hypot(angle.real, angle.imaginary);
  const cosine = angle.real / length, sine = angle.imaginary / length;
  const { real, imaginary, norm } = products(...forSize);
  const scale = (cosine * real + sine * imaginary) / norm; // the least squared error, with the angle given
  if (scale > 0) return around(scale * cosine, scale * sine, ...forSize);
  const all = products(points, target); // landmarks in an impossible order
  return around(all.real / all.norm, all.imaginary / all.norm, points, target);
}

/** Cut the face out: upright, eyes level, `size` x `size`. Outside the image its edge pixels are repeated. */
export function align(image, landmarks, framing) {
  const { size } = framing;
  const [a, b, c, d, e, f] = toTemplate(landmarks, framing);
  const scale = Math.hypot(a, d);
  const { part, x, y, factor } = reducedPart(image, footprint([a, b, c, d, e, f], size), scale);
  // Image point p is part point (p - corner) / factor; half a pixel on both sides, because warp counts from centres
  const [toX, toY] = [c + a * x + b * y, f + d * x + e * y];
  const [A, B, D, E] = [a, b, d, e].map((value) => value * factor);
  const matrix = [A, B, toX + (A + B) / 2 - 0.5, D, E, toY + (D + E) / 2 - 0.5];
  return warp(part, matrix, size, { cubic: scale > 1 });
}

/** Return the corners, in pixels of the image, of the square that the result shows. */
function footprint([a, b, c, d, e, f], size) {
  const area = a * e - b * d;
  return [[0, 0], [size, 0], [0, size], [size, size]].map(([x, y]) =>
    [(e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area]);
}

/** Cut the part that the footprint needs and average blocks of `factor` pixels, so that warping skips none. */
function reducedPart(image, corners, scale) {
  const factor = scale < 0.5 ? Math.max(1, Math.trunc(1 / scale)) : 1;
  const room = 2 * factor + 2; // neighbours that the interpolation reads
  const xs = corners.map(([x]) => x), ys = corners.map(([, y]) => y);
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  const x = within(Math.floor(Math.min(...xs)) - room, 0, image.width - 1);
  const y = within(Math.floor(Math.min(...ys)) - room, 0, image.height - 1);
  const right = within(Math.ceil(Math.max(...xs)) + room, x + 1, image.width);
  const bottom = within(Math.ceil(Math.max(...ys)) + room, y + 1, image.height);
  const width = Math.ceil((right - x) / factor), height = Math.ceil((bottom - y) / factor);
  // Filled up to whole blocks with the part's own edge
  const part = cutRepeating(cutRepeating(image, x, y, right - x, bottom - y), 0, 0, width * factor, height * factor);
  return { part: resize(part, width, height, "area"), x, y, factor };
}

/** Whether the eyes are above the mouth. */
export function isUpright(landmarks) {
  const points = pairs(landmarks);
  return mean(points.slice(0, 2))[1] < mean(points.slice(3))[1];
}
