/** Engines that run exported files in a browser: onnxruntime-web for ONNX, LiteRT.js for TFLite.
 *
 * A model has the members of `runtime/file_runner.py`: inputs and outputs from the file itself, and
 * `run(feed)`, which returns copies. Tensors are {dtype, shape, data}.
 */
import {InputError, MissingToolError} from "/page/errors.js";

const ORT = "/vendor/onnxruntime-web/";
const LITERT = "/vendor/litertjs-core/";
const MOST_THREADS = 4;

/** Load a file.
 * @param {Uint8Array} bytes of the file
 * @param {{engine: string, backend: "wasm"|"webgpu", threads: ?number}} options threads: null lets us choose
 */
export async function openModel(bytes, {engine, backend = "wasm", threads = null}) {
  const adapter = backend === "webgpu" ? await requireAdapter() : null;
  const openers = {"onnxruntime-web": openOnnx, "litert-js": openTflite};
  if (!openers[engine]) throw new InputError(`engine: want one of ${Object.keys(openers)}, got ${engine}`);
  const count = self.crossOriginIsolated ? threads ?? defaultThreads() : 1;
  try {
    return await openers[engine](bytes, backend, count, adapter);
  } catch (error) {
    throw new InputError(`want a file that ${engine} loads, got: ${error?.message ?? error}`);
  }
}

/** Return as many threads as an engine should have on this machine. */
export function defaultThreads() {
  return Math.min(MOST_THREADS, Math.max(1, Math.ceil((navigator.hardwareConcurrency ?? 1) / 2)));
}

/** Return the name of the adapter that WebGPU computes on, or null. */
export async function adapterName() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return null;
  const {vendor, architecture, description} = adapter.info ?? {};
  return [vendor, architecture, description].filter(Boolean).join(" ") || "unnamed adapter";
}

async function requireAdapter() {
  const name = await adapterName();
  if (name === null) throw new MissingToolError("this browser has no WebGPU adapter here");
  return name;
}

async function openOnnx(bytes, backend, threads, adapter) {
  const ort = await import(`${ORT}ort.${backend}.min.mjs`);
  ort.env.wasm.wasmPaths = ORT;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [backend], logSeverityLevel: 3});
  const specs = (metadata) => metadata.map(({name, shape, type}) => ({name, shape: [...shape], dtype: type}));
  return {
    inputs: specs(session.inputMetadata),
    outputs: specs(session.outputMetadata),
    version: ort.env.versions.web,
    residency: residency(backend, threads, adapter, "SIMD"),
    async run(feed) {
      const tensors = {};
      for (const {name} of this.inputs) {
        const {dtype, data, shape} = feed[name];
        tensors[name] = new ort.Tensor(dtype, data, shape);
      }
      const results = await session.run(tensors);
      return Object.fromEntries(this.outputs.map(({name, shape, dtype}) => {
        const data = results[name].data.slice();
        results[name].dispose();
        return [name, {dtype, shape, data}];
      }));
    },
    close: () => session.release(),
  };
}

let litertLoaded = null; // it cannot be loaded twice in a page

function loadLitert(litert, options) {
  // it writes its whole log where errors go; its loader takes the module's settings from here
  self.Module = {printErr: (line) => (/^(INFO|WARNING):/.test(line) ? console.debug : console.error)(line)};
  return litert.loadLiteRt(LITERT, options);
}

async function openTflite(bytes, backend, threads, adapter) {
  const litert = await import("@litertjs/core");
  const jspi = backend === "webgpu" && await litert.supportsFeature("jspi");
  const relaxed = await litert.supportsFeature("relaxedSimd");
  const threaded = backend === "wasm" && relaxed && threads > 1;
  litertLoaded ??= loadLitert(litert, {threads: threaded, jspi});
  await litertLoaded;
  const used = threaded ? threads : 1;
  const model = await litert.loadAndCompile(bytes, {
    accelerator: backend, cpuOptions: {numThreads: used}, gpuOptions: {precision: "fp32"}});
  const specs = (details) => details.map(({name, shape, dtype}) => ({name, shape: [...shape], dtype}));
  const part = backend === "webgpu" && !model.isFullyAccelerated ? "partly " : "";
  return {
    inputs: specs(model.getInputDetails()),
    outputs: specs(model.getOutputDetails()),
    version: "",
    residency: part + residency(backend, used, adapter, relaxed ? "relaxed SIMD" : "SIMD"),
    async run(feed) {
      const tensors = {};
      for (const {name} of this.inputs) tensors[name] = new litert.Tensor(feed[name].data, feed[name].shape);
      const results = await model.run(tensors);
      for (const tensor of Object.values(tensors)) tensor.delete();
      const found = {};
      for (const {name, shape, dtype} of this.outputs) {
        const here = await results[name].moveTo("wasm");
        found[name] = {dtype, shape, data: here.toTypedArray().slice()};
        here.delete();
      }
      return found;
    },
    close: () => model.delete(),
  };
}

function residency(backend, threads, adapter, simd) {
  if (backend === "webgpu") return `webgpu on ${adapter}; operators that it lacks in wasm`;
  return `wasm, ${simd}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}
