/** Runs a job of `runtime/targets/record.py`: reads its files, runs them, gives the report last. */
import {fetchChecked, sha256} from "/page/digest.js";
import {adapterName, openModel} from "/page/engines.js";
import {InputError, MissingToolError} from "/page/errors.js";
import {readNpz, writeNpz} from "/page/npz.js";

export {adapterName};

const JOB = "/job/";

/** Run the job that the server has.
 * @param {{token: string, device: object}} told by the target: what lets us give files, and facts of the machine
 * @returns {Promise<string>} "done", or "failed" after the reason was given instead of a report
 */
export async function runJob({token, device}) {
  try {
    const report = await resultOf(device, token);
    await give("result.json", encode(report), token);
    return "done";
  } catch (error) {
    const known = error instanceof InputError || error instanceof MissingToolError;
    const failure = {kind: known ? error.name : "TargetError", message: String(error?.message ?? error)};
    await give("failure.json", encode(failure), token);
    return "failed";
  }
}

async function resultOf(device, token) {
  const raw = new Uint8Array(await (await fetch(`${JOB}job.json`)).arrayBuffer());
  const job = JSON.parse(new TextDecoder().decode(raw));
  const bytes = await fetchChecked(JOB + job.model.path, job.model.path, job.model.sha256);
  const feeds = {};
  for (const [name, {path, sha256: digest}] of Object.entries(job.samples)) {
    feeds[name] = readNpz(await fetchChecked(JOB + path, path, digest));
  }
  const start = performance.now();
  const model = await openModel(bytes, job);
  const load_ms = performance.now() - start;
  const passes = await runPasses(model, feeds, job);
  const samples = {};
  for (const [name, values] of Object.entries(passes.outputs)) {
    const output = await giveOutput(`out/${name}.npz`, writeNpz(values), token);
    samples[name] = {input_sha256: job.samples[name].sha256, output};
  }
  model.close();
  const {first_ms, passes_ms} = passes;
  return {
    schema_version: 1,
    nonce: job.nonce,
    job_sha256: await sha256(raw),
    model_sha256: job.model.sha256, // the bytes were just compared with it
    inputs: model.inputs,
    outputs: model.outputs,
    samples,
    device: {
      ...device,
      cores: navigator.hardwareConcurrency ?? 1,
      engine: job.engine,
      engine_version: model.version || device.engine_version,
    },
    timings: job.measure === "time" ? {load_ms, first_ms, passes_ms} : null,
    residency: model.residency,
  };
}

/** Run every sample once, then warm up and repeat the first one, as `runtime/targets/passes.py`. */
async function runPasses(model, feeds, {warmup, repeats}) {
  const outputs = {}, passes_ms = [];
  let first_ms = 0;
  for (const [name, feed] of Object.entries(feeds)) {
    const start = performance.now();
    outputs[name] = await model.run(feed);
    if (Object.keys(outputs).length === 1) first_ms = performance.now() - start;
  }
  const [first] = Object.values(feeds);
  for (let pass = 0; pass < warmup + repeats; pass += 1) {
    const start = performance.now();
    await model.run(first);
    if (pass >= warmup) passes_ms.push(performance.now() - start);
  }
  return {outputs, first_ms, passes_ms};
}

async function giveOutput(path, content, token) {
  await give(path, content, token);
  return {path, bytes: content.length, sha256: await sha256(content)};
}

async function give(path, content, token) {
  const headers = {"X-Pocketportrait-Token": token};
  const answer = await fetch(`/inbox/${path}`, {method: "PUT", headers, body: content});
  if (!answer.ok) throw new Error(`${path}: was not taken: ${answer.status}`);
}

const encode = (value) => new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n");
