/** A session: one photo, encoded once, then any number of driving frames; as `runtime/session.py`.
 *
 * Names, shapes and layouts are those that the manifest states; nothing is inferred.
 */
import {fetchChecked} from "/page/digest.js";
import {openModel} from "/page/engines.js";
import {InputError} from "/page/errors.js";

const GRAPHS = ["appearance", "motion", "render"];
const ENGINES = {onnx: "onnxruntime-web", tflite: "litert-js"};
const KEPT_TIMINGS = 120;

export class Session {
  /** Load the three graphs of one variant.
   * @param {object} manifest of the bundle
   * @param {{format: string, precision: string, backend: string, threads: ?number}} options
   */
  static async open(manifest, {format, precision, backend, threads}) {
    const variant = manifest.variants[format]?.[precision];
    if (!variant) throw new InputError(`${format}/${precision}: this bundle has no such variant`);
    const session = new Session();
    for (const graph of GRAPHS) {
      const declared = variant.graphs[graph];
      const facts = manifest.files[declared.path];
      const bytes = await fetchChecked(`/bundle/${declared.path}`, declared.path, facts.sha256);
      const model = await openModel(bytes, {engine: ENGINES[format], backend, threads});
      compare(graph, declared, model);
      session.graphs[graph] = {model, declared};
      session.timings_ms[graph] = [];
    }
    return session;
  }

  graphs = {};
  timings_ms = {}; // the last passes of each graph
  motion = "relative";
  #bound = null; // features and the photo's own code
  #neutral = null;

  /** Side of the square pictures that go in and come out, in pixels. */
  get side() {
    const [{shape, layout}] = this.graphs.motion.declared.inputs;
    return shape[layout.indexOf("W")];
  }

  /** What runs the renderer. */
  get residency() {
    return this.graphs.render.model.residency;
  }

  get hasPhoto() {
    return this.#bound !== null;
  }

  /** Encode the photo; driving frames animate it from now on.
   * @param {Uint8ClampedArray} pixels RGBA, side x side
   */
  async setPhoto(pixels) {
    const code = await this.#encode(pixels);
    const [{name}] = this.graphs.appearance.declared.inputs;
    const features = await this.#run("appearance", {[name]: this.#tensor("appearance", pixels)});
    this.#bound = {...features, source_code: code};
    this.resetNeutral();
  }

  /** Let the photo do what the driver does in this frame.
   * @param {Uint8ClampedArray} pixels RGBA, side x side
   * @returns {Promise<{dtype: string, shape: number[], data: Float32Array}>} the picture as the file gives it
   */
  async step(pixels) {
    if (!this.hasPhoto) throw new InputError("session: want a photo before the first frame");
    const driving = await this.#encode(pixels);
    this.#neutral ??= driving;
    const source = this.#bound.source_code;
    const code = this.motion === "absolute" ? driving
      : {...driving, data: driving.data.map((value, at) => source.data[at] + (value - this.#neutral.data[at]))};
    return (await this.#run("render", {...this.#bound, driving_code: code})).image;
  }

  /** Take the next frame as the one that relative motion counts from. */
  resetNeutral() {
    this.#neutral = null;
  }

  /** Return a picture of `step` as RGBA. */
  toPixels(image) {
    const [{layout}] = this.graphs.render.declared.outputs;
    return toPixels(image, layout);
  }

  /** Return the median of a graph's last passes, in ms, or null. */
  median(graph) {
    const sorted = [...this.timings_ms[graph]].sort((a, b) => a - b);
    return sorted.length ? sorted[sorted.length >> 1] : null;
  }

  close() {
    for (const {model} of Object.values(this.graphs)) model.close();
  }

  async #encode(pixels) {
    const [{name}] = this.graphs.motion.declared.inputs;
    return (await this.#run("motion", {[name]: this.#tensor("motion", pixels)})).code;
  }

  #tensor(graph, pixels) {
    return toTensor(pixels, this.graphs[graph].declared.inputs[0]);
  }

  async #run(graph, feed) {
    const start = performance.now();
    const outputs = await this.graphs[graph].model.run(feed);
    const timings = this.timings_ms[graph];
    timings.push(performance.now() - start);
    if (timings.length > KEPT_TIMINGS) timings.shift();
    return outputs;
  }
}

/** Refuse a file whose tensors are not what the manifest says. */
function compare(graph, declared, model) {
  for (const side of ["inputs", "outputs"]) {
    const [want, got] = [declared[side], model[side]].map((tensors) =>
      tensors.map(({name, shape, dtype}) => `${name} ${dtype} ${shape}`).sort().join("; "));
    if (want !== got) throw new InputError(`${graph}: the manifest says ${side} ${want}, the file ${got}`);
  }
}

/** Return RGBA pixels as the tensor that a manifest describes, 0..1. */
export function toTensor(pixels, {name, shape, dtype, layout}) {
  if (dtype !== "float32" || !["NCHW", "NHWC"].includes(layout)) {
    throw new InputError(`${name}: want float32 in NCHW or NHWC, got ${dtype} in ${layout}`);
  }
  const count = pixels.length / 4;
  const [pixel, channel] = layout === "NHWC" ? [3, 1] : [1, count];
  const data = new Float32Array(3 * count);
  for (let at = 0; at < count; at += 1) {
    for (let c = 0; c < 3; c += 1) data[at * pixel + c * channel] = pixels[4 * at + c] / 255;
  }
  return {dtype, shape, data};
}

/** Return a picture tensor, 0..1, as RGBA pixels, rounded as `runtime/layout.py` rounds. */
export function toPixels({data}, layout) {
  const count = data.length / 3;
  const [pixel, channel] = layout === "NHWC" ? [3, 1] : [1, count];
  const pixels = new Uint8ClampedArray(4 * count).fill(255);
  for (let at = 0; at < count; at += 1) {
    for (let c = 0; c < 3; c += 1) pixels[4 * at + c] = data[at * pixel + c * channel] * 255;
  }
  return pixels;
}
