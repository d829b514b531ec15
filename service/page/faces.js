// Where the faces of an answer are, and the order in which a person reads them. No page, no network.

export const HUES = 10; // classes .hue-0 ... in style.css

const centre = (face) => (face.box.y1 + face.box.y2) / 2;

/** Return the answer about a photo of `width` x `height` pixels, which may be larger than what was sent, in reading order. */
export function placed(answer, width, height) {
  const across = width / answer.width;
  const down = height / answer.height;
  const round = (value) => Math.round(10 * value) / 10;
  const faces = answer.faces.map((face) => ({
    ...face,
    box: {
      x1: round(face.box.x1 * across), y1: round(face.box.y1 * down),
      x2: round(face.box.x2 * across), y2: round(face.box.y2 * down),
    },
    landmarks: Object.fromEntries(
      Object.entries(face.landmarks).map(([name, [x, y]]) => [name, [round(x * across), round(y * down)]])),
  }));
  return { ...answer, width, height, faces: inReadingOrder(faces) };
}

/** Return the answer about a picture as it looks in a mirror. */
export function mirrored(answer) {
  const faces = answer.faces.map((face) => ({
    ...face,
    box: { ...face.box, x1: answer.width - face.box.x2, x2: answer.width - face.box.x1 },
    landmarks: Object.fromEntries(Object.entries(face.landmarks).map(([name, [x, y]]) => [name, [answer.width - x, y]])),
  }));
  return { ...answer, faces };
}

/** Rows from top to bottom, each from left to right; a row holds the faces whose centre is beside its first face. */
export function inReadingOrder(faces) {
  const rows = [];
  for (const face of [...faces].sort((one, other) => centre(one) - centre(other))) {
    const row = rows.at(-1);
    if (row && centre(face) < row[0].box.y2) row.push(face);
    else rows.push([face]);
  }
  return rows.flatMap((row) => row.sort((one, other) => one.box.x1 - other.box.x1));
}

/** Return the part of a box that lies in the photo, as shares of its sides. */
export function shares(box, width, height) {
  const within = (value, side) => Math.min(Math.max(value / side, 0), 1);
  const left = within(box.x1, width);
  const top = within(box.y1, height);
  return { left, top, width: within(box.x2, width) - left, height: within(box.y2, height) - top };
}

const overlap = (one, other) =>
  Math.max(0, Math.min(one.x + one.w, other.x + other.w) - Math.max(one.x, other.x)) *
  Math.max(0, Math.min(one.y + one.h, other.y + other.h) - Math.max(one.y, other.y));

/** Return the corner of `box` in which a tag of `w` x `h` covers least of the other boxes; the upper left if it covers none. */
export function corner(box, others, w, h) {
  const corners = { "top left": [0, 0], "top right": [1, 0], "bottom left": [0, 1], "bottom right": [1, 1] };
  let best = { covered: Infinity };
  for (const [name, [right, bottom]] of Object.entries(corners)) {
    const tag = { x: box.x + right * (box.w - w), y: box.y + bottom * (box.h - h), w, h };
    const covered = others.reduce((sum, other) => sum + overlap(tag, other), 0);
    if (covered < best.covered) best = { name, covered };
  }
  return best.name;
}
