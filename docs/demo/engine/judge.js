// The last word on what is a face: MTCNN's output network, for the candidates of any search.

import { area, cutSquares, nmsOfSmaller, regressed } from "./boxes.js";
import { findLandmarks } from "./landmarks.js";
import { rows } from "./networks.js";

export const SAME_FACE = 0.7;
const FOUND = 0.7;

/** Return what a network says of the squares around candidates. */
export async function asked(net, reductions, candidates, size) {
  if (!candidates.length) return [];
  const { squares, crops } = cutSquares(reductions, candidates.map(({ box }) => box), size);
  const { probabilities, regression } = await net(crops);
  const scores = rows(probabilities), moves = rows(regression);
  return squares.map((box, index) => ({ box, score: scores[index][1], regression: moves[index] }));
}

/** Return for each candidate where the network puts a face, and the probability that it is one. */
export const lookAt = async (oNet, reductions, candidates) => (await asked(oNet, reductions, candidates, 48)).map(regressed);

/** Return the faces among what `lookAt` has returned, each once. */
export function facesAmong(lookedAt, minConfidence) {
  const passed = lookedAt.filter(({ score }) => score > Math.min(FOUND, minConfidence));
  return nmsOfSmaller(passed, SAME_FACE).filter(({ score }) => score >= minConfidence);
}

/** Return the faces among the candidates, each once, and where the network puts them. */
export const judge = async (oNet, reductions, candidates, minConfidence) => facesAmong(await lookAt(oNet, reductions, candidates), minConfidence);

/** Return faces that were found in a letterbox, largest first, with landmarks, in pixels of the image. */
export async function located(oNet, reductions, framed, found) {
  const landmarks = await findLandmarks(oNet, reductions, found.map(({ box }) => box));
  return found
    .map(({ box, score }, index) => ({ box, score, landmarks: landmarks[index] }))
    .sort((one, other) => area(other.box) - area(one.box))
    .map(({ box, score, landmarks: points }) => ({ box: framed.toImage(box), score, landmarks: framed.toImage(points) }));
}
