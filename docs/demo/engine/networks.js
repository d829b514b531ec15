// The networks, run by ONNX Runtime's WebAssembly on one thread. All files lie beside this page.

import * as ort from "../ort/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that not every static host sends
ort.env.wasm.wasmPaths = new URL("../ort/", import.meta.url).href;

// As the files are written, step by step: an INT8 network then answers nearer to the service's, and is no slower
const OPTIONS = { graphOptimizationLevel: "disabled" };

/** Return a function that runs the network of a file on images of one size, and gives its outputs by name. */
export async function network(file) {
  const session = await ort.InferenceSession.create(new URL(`../models/${file}`, import.meta.url).href, OPTIONS);
  const [input] = session.inputNames;
  return async (images) => {
    const [{ width, height }] = images;
    const pixels = new Uint8Array(images.length * 3 * width * height);
    images.forEach(({ data }, index) => pixels.set(data, index * data.length));
    return session.run({ [input]: new ort.Tensor("uint8", pixels, [images.length, height, width, 3]) });
  };
}

/** Return the rows of a tensor `(N, K)` as arrays. */
export function rows({ data, dims: [count, width] }) {
  return Array.from({ length: count }, (_, row) => Array.from(data.subarray(row * width, (row + 1) * width)));
}
