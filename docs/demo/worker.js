// The worker: loads the networks and answers about images, one after the other.

import { fromCanvas, toCanvas } from "./engine/pixels.js";
import { Predictor } from "./engine/predictor.js";
import { Tracks } from "./engine/tracks.js";

let predictor = null;
let tracks = null;

const ANSWERS = {
  load: async (model) => void (predictor = await Predictor.load(model)),
  photo: (bitmap) => predictor.predict(pixels(bitmap)),
  live: () => void (tracks = new Tracks(predictor)),
  frame: (bitmap) => tracks.look(pixels(bitmap), performance.now() / 1000),
  shot: ({ bitmap, timeS }) => tracks.look(pixels(bitmap), timeS), // of a video
  heat: explained,
};

/** Return a face's heat map, and its crop as a PNG. */
async function explained(place) {
  const { heat, crop } = await predictor.explain(place);
  const canvas = new OffscreenCanvas(crop.width, crop.height);
  canvas.getContext("2d").putImageData(toCanvas(crop), 0, 0);
  return { heat, crop: await canvas.convertToBlob() };
}

function pixels(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true }); // opaque: black
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return fromCanvas(context.getImageData(0, 0, width, height));
}

let before = Promise.resolve();

addEventListener("message", ({ data: { number, kind, content } }) => {
  before = before.then(async () => {
    try {
      postMessage({ number, result: await ANSWERS[kind](content) });
    } catch (error) {
      postMessage({ number, error: `${error.message ?? error}` });
    }
  });
});
postMessage({ number: "ready" });
