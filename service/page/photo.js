// Pixels of the photo that is shown: smaller for sending, a face of it for its card, a copy with blurred faces.

import { element } from "./dom.js";

const LONGEST_SENT = 2560; // px; a phone's photo of 12 megapixels would take the service three times as long
const LONGEST_COPY = 8192; // px; some browsers give no larger canvas
const QUALITY = 0.92;
const CROP = 144; // px, twice what is shown
const BLUR_CELLS = 6; // across a face: too few to tell who it is
const AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"];

/**
 * Return what to send for `file`, which `photo` shows: `blob`, and `sent`, its size where it was made smaller.
 *
 * A canvas takes the photo upright, and without its metadata (place, camera). What the browser cannot show goes as it
 * is, and so does a GIF: its frames would be lost, and the service would not know to say so.
 */
export async function prepared(file, photo, maxBytes) {
  const isShown = await photo.decode().then(() => true, () => false);
  if (!isShown || file.type === "image/gif") return { blob: file, sent: null };
  const scale = Math.min(1, LONGEST_SENT / Math.max(photo.naturalWidth, photo.naturalHeight));
  if (scale === 1 && file.size <= maxBytes && AS_THEY_ARE.includes(file.type)) return { blob: file, sent: null };
  const canvas = drawn(photo, scale);
  return { blob: await encoded(canvas), sent: scale < 1 ? { width: canvas.width, height: canvas.height } : null };
}

function drawn(photo, scale) {
  const canvas = element("canvas", {
    width: Math.round(scale * photo.naturalWidth), height: Math.round(scale * photo.naturalHeight),
  });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Return the address of the photo turned clockwise, with all its pixels as far as the browser can hold them. */
export async function turned(photo, degrees) {
  const straight = drawn(photo, Math.min(1, LONGEST_COPY / Math.max(photo.naturalWidth, photo.naturalHeight)));
  const { width, height } = straight;
  const canvas = element("canvas", degrees % 180 ? { width: height, height: width } : { width, height });
  const context = canvas.getContext("2d");
  context.translate(canvas.width / 2, canvas.height / 2);
  context.rotate((degrees * Math.PI) / 180);
  context.drawImage(straight, -width / 2, -height / 2);
  return URL.createObjectURL(await encoded(canvas));
}

function encoded(canvas) {
  return new Promise((resolve, reject) => canvas.toBlob(
    (blob) => (blob ? resolve(blob) : reject(new Error("The browser cannot make an image of this size."))), "image/jpeg", QUALITY));
}

/** Return [a canvas with the face], or [] if the photo is not shown. */
export function crop(photo, box) {
  if (!photo.naturalWidth) return [];
  const side = 1.2 * Math.max(box.x2 - box.x1, box.y2 - box.y1);
  const canvas = element("canvas", { class: "crop", width: CROP, height: CROP, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, (box.x1 + box.x2 - side) / 2, (box.y1 + box.y2 - side) / 2, side, side, 0, 0, CROP, CROP);
  return [canvas];
}

/** Return the photo as a JPEG in which no face of `faces` can be recognised; nothing leaves the browser. */
export function blurred(photo, faces) {
  const scale = Math.min(1, LONGEST_COPY / Math.max(photo.naturalWidth, photo.naturalHeight));
  const canvas = drawn(photo, scale);
  const context = canvas.getContext("2d");
  const within = (value, side) => Math.round(Math.min(Math.max(scale * value, 0), side));
  for (const { box } of faces) {
    const spare = 0.2 * Math.max(box.x2 - box.x1, box.y2 - box.y1); // hair, chin and ears
    const x = within(box.x1 - spare, canvas.width), y = within(box.y1 - spare, canvas.height);
    const wide = within(box.x2 + spare, canvas.width) - x, high = within(box.y2 + spare, canvas.height) - y;
    const cells = element("canvas", { width: BLUR_CELLS, height: BLUR_CELLS });
    const small = cells.getContext("2d");
    small.imageSmoothingQuality = "high";
    small.drawImage(canvas, x, y, wide, high, 0, 0, BLUR_CELLS, BLUR_CELLS);
    context.drawImage(cells, x, y, wide, high);
  }
  return encoded(canvas);
}
