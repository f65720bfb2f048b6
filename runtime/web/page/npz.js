/** numpy's .npz: a zip of .npy files that are stored, not compressed; little-endian, C order. */
import {InputError} from "/page/errors.js";

const TYPES = {
  "<f4": [Float32Array, "float32"],
  "<i4": [Int32Array, "int32"],
  "|u1": [Uint8Array, "uint8"],
  "|i1": [Int8Array, "int8"],
};
const CODES = Object.fromEntries(Object.entries(TYPES).map(([code, [, name]]) => [name, code]));
const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const MIDNIGHT = 33 << 16; // 1 January 1980, as zip counts days

/** Return the tensors of an archive, {dtype, shape, data} by name. */
export function readNpz(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw new InputError("want an .npz file, got one without a directory");
  const tensors = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    if (view.getUint16(at + 10, true) !== 0) throw new InputError("want an .npz file that is stored");
    const [size, start] = [view.getUint32(at + 24, true), view.getUint32(at + 42, true)];
    const [name, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const file = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name));
    const data = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    tensors[file.replace(/\.npy$/, "")] = readNpy(bytes.slice(data, data + size), file);
    at += 46 + name + extra + comment;
  }
  return tensors;
}

function readNpy(bytes, name) {
  const start = 10 + new DataView(bytes.buffer).getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start));
  const [, code] = /'descr': '([^']+)'/.exec(header) ?? [];
  const [, sizes] = /'shape': \(([^)]*)\)/.exec(header) ?? [];
  if (bytes[6] !== 1 || !TYPES[code] || /'fortran_order': True/.test(header)) {
    throw new InputError(`${name}: want ${Object.keys(TYPES)} in C order, got ${header.trim()}`);
  }
  const [Type, dtype] = TYPES[code];
  const shape = sizes.split(",").filter((part) => part.trim()).map(Number);
  const data = new Type(bytes.buffer.slice(start));
  if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new InputError(`${name}: is cut off`);
  return {dtype, shape, data};
}

/** Return an archive of tensors, {dtype, shape, data} by name; equal tensors give equal bytes. */
export function writeNpz(tensors) {
  const parts = [], directory = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    const file = new TextEncoder().encode(`${name}.npy`);
    const content = writeNpy(tensor, name);
    const facts = [[4, MIDNIGHT], [4, crc32(content)], [4, content.length],
      [4, content.length], [2, file.length]];
    const local = record([[4, LOCAL], [2, 20], [2, 0], [2, 0], ...facts, [2, 0]]);
    directory.push(record([[4, CENTRAL], [2, 20], [2, 20], [2, 0], [2, 0], ...facts, [2, 0],
      [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), file);
    parts.push(local, file, content);
    offset += local.length + file.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = directory.length / 2;
  const end = record([[4, END], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]]);
  return joined([...parts, ...directory, end]);
}

function writeNpy({dtype, shape, data}, name) {
  if (!CODES[dtype]) throw new InputError(`${name}: want one of ${Object.keys(CODES)}, got ${dtype}`);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const facts = `{'descr': '${CODES[dtype]}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = Math.ceil((10 + facts.length + 1) / 64) * 64 - 10;
  const head = record([[2, length]]);
  const magic = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0);
  const text = new TextEncoder().encode(`${facts.padEnd(length - 1)}\n`);
  return joined([magic, head, text, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]);
}

/** Return little-endian numbers, each given with its bytes. */
function record(fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true); else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const TABLE = Uint32Array.from({length: 256}, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
