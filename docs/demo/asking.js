// Asks the worker, so that the page answers a person while the networks compute.

let worker = null;
let asked = 0;
const waiting = new Map(); // number of a question -> its promise

/** Start the worker and let it load the networks; `model` is models/model.json. */
export async function load(model) {
  // By way of a blob, the worker inherits the page's policy, and so cannot send anything anywhere either
  const entry = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
  worker = new Worker(URL.createObjectURL(new Blob([entry], { type: "text/javascript" })), { type: "module" });
  worker.addEventListener("message", ({ data }) => answered(data));
  worker.addEventListener("error", ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(`The networks cannot be run in this browser: ${message ?? "its worker did not start"}.`));
    waiting.clear();
  });
  await new Promise((resolve, reject) => waiting.set("ready", { resolve, reject })); // its modules are loaded
  return ask("load", model);
}

function answered({ number, result, error }) {
  const question = waiting.get(number);
  waiting.delete(number);
  if (error) question?.reject(new Error(error));
  else question?.resolve(result);
}

/** Ask for the answer about a "photo" or a "frame", an ImageBitmap, a "shot" of a video or a "heat" map. */
export function ask(kind, content) {
  const number = ++asked;
  const answer = new Promise((resolve, reject) => waiting.set(number, { resolve, reject }));
  worker.postMessage({ number, kind, content }, [content, content?.bitmap].filter((each) => each instanceof ImageBitmap));
  return answer;
}
