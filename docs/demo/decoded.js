// From a file to pixels, as the browser decodes it: upright by its EXIF, its colours as they are stored.

const MAX_MEGAPIXELS = 50; // as the service has it: a small file may claim any size
const LARGEST_CANVAS = 16_777_216; // px; phones give no larger one
const AS_STORED = { imageOrientation: "from-image", colorSpaceConversion: "none" };

/** Return `bitmap`, and `reduced`, its size in words where it had to be made smaller. */
export async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, AS_STORED);
  } catch {
    throw new Error("This browser cannot read the file as an image. Convert it to JPEG or PNG.");
  }
  const { width, height } = bitmap;
  if (width * height > MAX_MEGAPIXELS * 1e6) throw new Error(`The image has ${width}×${height} pixels; at most ${MAX_MEGAPIXELS} megapixels are accepted.`);
  if (width * height <= LARGEST_CANVAS) return { bitmap, reduced: null };
  const scale = Math.sqrt(LARGEST_CANVAS / (width * height));
  const size = { resizeWidth: Math.floor(scale * width), resizeHeight: Math.floor(scale * height) };
  const smaller = await createImageBitmap(bitmap, { ...size, resizeQuality: "high" });
  return { bitmap: smaller, reduced: `${size.resizeWidth}×${size.resizeHeight} in place of ${width}×${height} pixels` };
}
