// Faces keep their number from frame to frame, and their probabilities are smoothed over time.
//
// The service follows faces by ByteTrack; here the nearest box of the last frames is enough for a few people.

import { overlap } from "./boxes.js";

const SAME = 0.3; // overlap, as a share of the union, from which on a box may be a track's
const LOST_S = 1; // for so long a face that is not seen keeps its number
const SMOOTH_S = 0.5; // an answer that is so old counts 1/e

export class Tracks {
  constructor(predictor) {
    this.predictor = predictor;
    this.tracks = []; // {number, box, seenS, sums, weight}
    this.next = 1;
    this.begins = true;
  }

  /** Return the answer about a frame at a time in seconds; its faces have a `track`, null until a second frame shows them. */
  async look(image, timeS) {
    const answer = await this.predictor.predict(image);
    this.tracks = this.tracks.filter(({ seenS, number }) => seenS === this.lastS || (number && timeS - seenS <= LOST_S));
    const pairs = answer.faces.flatMap((face, place) => this.tracks.map((track) => ({ face, place, track, share: overlap(corners(face), track.box) })));
    const found = new Map(); // place -> track
    for (const { place, track, share } of pairs.sort((one, other) => other.share - one.share)) {
      if (share >= SAME && !found.has(place) && ![...found.values()].includes(track)) found.set(place, track);
    }
    const fromTheLeft = [...answer.faces.keys()].sort((one, other) => answer.faces[one].box.x1 - answer.faces[other].box.x1);
    const faces = [];
    for (const place of fromTheLeft) faces[place] = this.seen(answer.faces[place], found.get(place), timeS);
    this.begins = false;
    this.lastS = timeS;
    return { ...answer, faces };
  }

  seen(face, known, timeS) {
    const track = known ?? { number: null, weight: 0, sums: {} };
    if (!known) this.tracks.push(track);
    if ((known || this.begins) && !track.number) track.number = this.next++;
    const fade = track.weight ? Math.exp(-(timeS - track.seenS) / SMOOTH_S) : 0;
    track.weight = fade * track.weight + 1;
    for (const [name, value] of Object.entries(face.probabilities)) track.sums[name] = fade * (track.sums[name] ?? 0) + value;
    Object.assign(track, { box: corners(face), seenS: timeS });
    const answer = this.predictor.model.classes.map((name) => track.sums[name] / track.weight);
    return { ...this.predictor.labelled(face, answer), track: track.number };
  }
}

const corners = ({ box }) => [box.x1, box.y1, box.x2, box.y2];
