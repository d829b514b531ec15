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

/** Return the faces among the candidates, each once, and where the network puts them. */
export async function judge(oNet, reductions, candidates, minConfidence) {
  const judged = await asked(oNet, reductions, candidates, 48);
  const passed = judged.filter(({ score }) => score > Math.min(FOUND, minConfidence)).map(regressed);
  return nmsOfSmaller(passed, SAME_FACE).filter(({ score }) => score >= minConfidence);
}

/** Return faces that were found in a letterbox, largest first, with landmarks, in pixels of the image. */
export async function located(oNet, reductions, framed, found) {
  const landmarks = await findLandmarks(oNet, reductions, found.map(({ box }) => box));
  return found
    .map(({ box, score }, index) => ({ box, score, landmarks: landmarks[index] }))
    .sort((one, other) => area(other.box) - area(one.box))
    .map(({ box, score, landmarks: points }) => ({ box: framed.toImage(box), score, landmarks: framed.toImage(points) }));
}
