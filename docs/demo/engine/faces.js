// The faces of an image: a second, enlarged attempt on small ones, and a look from the other sides where there are none.

import { area } from "./boxes.js";
import { turned } from "./pixels.js";
import { resize } from "./resize.js";
import { rint } from "./rounding.js";

const SMALL = 100; // px; images up to this longest side are crops around a face
const ENLARGED = 144; // px; their longest side in the second attempt
const PLAUSIBLE = 0.5; // a crop is mostly face: side of the face to that of the image
const TURNS = [90, 180, 270]; // degrees clockwise

/** Return `image`, turned if that shows faces, `rotation` in degrees, and its `faces`. */
export async function findUpright(detector, image) {
  const faces = await findFaces(detector, image);
  if (faces.length || Math.max(image.width, image.height) <= SMALL) return { image, rotation: 0, faces };
  let best = { image, rotation: 0, faces: [] };
  for (const rotation of TURNS) {
    const other = turned(image, rotation);
    const look = { image: other, rotation, faces: await findFaces(detector, other) };
    if (surest(look) > surest(best)) best = look;
  }
  return best;
}

const surest = ({ faces }) => Math.max(0, ...faces.map(({ score }) => score));

async function findFaces(detector, image) {
  const found = await detector.detect(image);
  const longest = Math.max(image.width, image.height);
  if (found.length || longest > SMALL) return found;
  const size = [image.width, image.height].map((side) => Math.max(1, rint((side * ENLARGED) / longest)));
  const factor = longest / ENLARGED;
  const scaled = (values) => values.map((value) => value * factor);
  return (await detector.detect(resize(image, ...size, "cubic")))
    .map((face) => ({ ...face, box: scaled(face.box), landmarks: scaled(face.landmarks) }))
    .filter((face) => isPlausible(face, image));
}

/** Whether a face fills enough of a crop around a face, and its centre and nose lie inside. */
function isPlausible({ box: [x1, y1, x2, y2], landmarks }, { width, height }) {
  const inside = ([x, y]) => x >= 0 && y >= 0 && x <= width && y <= height;
  return inside([(x1 + x2) / 2, (y1 + y2) / 2]) && inside(landmarks.slice(4, 6)) && area([x1, y1, x2, y2]) >= PLAUSIBLE ** 2 * width * height;
}

/** Return the faces in order of preference: largest first, or nearest to the image's centre. */
export function preferred(faces, { width, height }, choose) {
  if (choose === "largest") return [...faces].sort((one, other) => area(other.box) - area(one.box));
  const off = ({ box: [x1, y1, x2, y2] }) => Math.hypot((x1 + x2 - width) / 2, (y1 + y2 - height) / 2);
  return [...faces].sort((one, other) => off(one) - off(other));
}
