// From an image to its answer, as POST /predict of the service gives it (docs/http.md).

import { align, isUpright } from "./align.js";
import { probabilities } from "./classify.js";
import { findUpright, preferred } from "./faces.js";
import { heatOf } from "./heat.js";
import { Mtcnn } from "./mtcnn.js";
import { network } from "./networks.js";
import { Yunet } from "./yunet.js";

const LANDMARKS = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"];

const rounded = (value, digits) => Number(value.toFixed(digits));

export class Predictor {
  /** Load the networks; `model` is models/model.json. */
  static async load(model) {
    const files = ["p_net.onnx", "r_net.onnx", "o_net.onnx", "yunet.onnx", model.file];
    const [pNet, rNet, oNet, yunet, net] = await Promise.all(files.map(network));
    const mtcnn = new Mtcnn({ pNet, rNet, oNet, minConfidence: model.min_confidence });
    return new Predictor(model, new Yunet({ net: yunet, mtcnn }), net);
  }

  constructor(model, detector, net) {
    Object.assign(this, { model, detector, net });
  }

  /** Return the answer; it has no `first_frame_only`, for the image has no file any more. */
  async predict(image) {
    const start = performance.now();
    const { image: upright, rotation, faces } = await findUpright(this.detector, image);
    const found = performance.now();
    const ordered = preferred(faces, upright, this.model.choose);
    const framing = { size: this.model.size_px, margin: this.model.margin, fit: this.model.align };
    const crops = ordered.map(({ landmarks }) => align(upright, landmarks, framing));
    const answers = await probabilities(this.net, crops, this.model);
    this.last = { crops, answers };
    const answered = ordered.map((face, index) => this.face(face, answers[index]));
    return {
      status: statusOf(answered),
      faces: answered,
      faces_found: answered.length,
      faces_returned: answered.length,
      classes: this.model.classes,
      width: upright.width,
      height: upright.height,
      rotation,
      model_version: this.model.model_version,
      data_version: this.model.data_version,
      timing_ms: { find: rounded(found - start, 2), label: rounded(performance.now() - found, 2) },
      notice: this.model.notice,
    };
  }

  /** Return the heat map of a face of the last answer, by its place in it, and what the network saw of it. */
  async explain(place) {
    const crop = this.last.crops[place], answer = this.last.answers[place];
    return { heat: await heatOf(this.net, crop, answer.indexOf(Math.max(...answer)), this.model), crop };
  }

  face({ box, landmarks, score }, answer) {
    const face = {
      box: Object.fromEntries(["x1", "y1", "x2", "y2"].map((side, index) => [side, rounded(box[index], 1)])),
      landmarks: Object.fromEntries(LANDMARKS.map((name, place) =>
        [name, [rounded(landmarks[2 * place], 1), rounded(landmarks[2 * place + 1], 1)]])),
      detection_score: rounded(score, 4),
    };
    return this.labelled(face, answer);
  }

  /** Return the face with what its probabilities say. */
  labelled(face, answer) {
    const { classes, low_confidence: lowest, set_threshold: threshold } = this.model;
    const order = classes.map((_, place) => place).sort((one, other) => answer[other] - answer[one]);
    const [best] = order;
    const sure = answer[best] >= lowest && isUpright(Object.values(face.landmarks).flat());
    return {
      ...face,
      label: classes[best],
      confidence: rounded(answer[best], 6),
      status: sure ? "ok" : "low_confidence",
      probabilities: Object.fromEntries(classes.map((name, place) => [name, rounded(answer[place], 6)])),
      set: threshold === null ? null : order.filter((place) => place === best || answer[place] >= threshold).map((place) => classes[place]),
    };
  }
}

function statusOf(faces) {
  if (!faces.length) return "no_face";
  return faces.some(({ status }) => status === "low_confidence") ? "low_confidence" : "ok";
}
