// Images: {data, width, height}, 8 bits a channel, RGB one after the other. (0, 0) is the outer corner of the first pixel.

const CHANNELS = 3;

export function blank(width, height) {
  return { data: new Uint8ClampedArray(width * height * CHANNELS), width, height };
}

/** Return the image of a canvas's pixels, RGBA; what is transparent lies on black already. */
export function fromCanvas({ data, width, height }) {
  const image = blank(width, height);
  for (let to = 0, from = 0; to < image.data.length; to += CHANNELS, from += 4) {
    image.data[to] = data[from];
    image.data[to + 1] = data[from + 1];
    image.data[to + 2] = data[from + 2];
  }
  return image;
}

/** Return the pixels of a canvas, RGBA, that show the image. */
export function toCanvas({ data, width, height }) {
  const pixels = new ImageData(width, height);
  for (let to = 0, from = 0; from < data.length; to += 4, from += CHANNELS) pixels.data.set([data[from], data[from + 1], data[from + 2], 255], to);
  return pixels;
}

/** Return the part with its upper left corner at (x, y), whole pixels; black where it lies outside the image. */
export function cut(image, x, y, width, height) {
  const part = blank(width, height);
  const left = Math.max(x, 0), right = Math.min(x + width, image.width);
  if (left >= right) return part;
  for (let row = Math.max(y, 0); row < Math.min(y + height, image.height); row++) {
    const from = CHANNELS * (row * image.width + left);
    part.data.set(image.data.subarray(from, from + CHANNELS * (right - left)), CHANNELS * ((row - y) * width + left - x));
  }
  return part;
}

/** Return the part as `cut` does, with the nearest pixel of the image where it lies outside. */
export function cutRepeating(image, x, y, width, height) {
  const part = blank(width, height);
  const within = (value, side) => Math.min(Math.max(value, 0), side - 1);
  for (let row = 0, to = 0; row < height; row++) {
    const start = within(y + row, image.height) * image.width;
    for (let column = 0; column < width; column++) {
      const from = CHANNELS * (start + within(x + column, image.width));
      part.data[to++] = image.data[from];
      part.data[to++] = image.data[from + 1];
      part.data[to++] = image.data[from + 2];
    }
  }
  return part;
}

/** Return the image as in a mirror. */
export function mirrored(image) {
  return moved(image, image.width, image.height, (x, y) => [image.width - 1 - x, y]);
}

/** Return the image turned clockwise by 90, 180 or 270 degrees. */
export function turned(image, degrees) {
  const right = image.width - 1, bottom = image.height - 1;
  if (degrees === 180) return moved(image, image.width, image.height, (x, y) => [right - x, bottom - y]);
  return moved(image, image.height, image.width, degrees === 90 ? (x, y) => [y, bottom - x] : (x, y) => [right - y, x]);
}

/** Return an image whose pixel (x, y) is the pixel `origin(x, y)` of another. */
function moved(image, width, height, origin) {
  const made = blank(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [column, row] = origin(x, y);
      const from = CHANNELS * (row * image.width + column);
      made.data[to++] = image.data[from];
      made.data[to++] = image.data[from + 1];
      made.data[to++] = image.data[from + 2];
    }
  }
  return made;
}
