/** SHA-256 by the browser's own SubtleCrypto. */
import {InputError} from "/page/errors.js";

/** Return the digest of bytes, as lower-case hex. */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Fetch a file and return its bytes, if they have the digest. */
export async function fetchChecked(url, name, digest) {
  const response = await fetch(url);
  if (!response.ok) throw new InputError(`${name}: want the file, got ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const got = await sha256(bytes);
  if (got !== digest) throw new InputError(`${name}: want sha256 ${digest}, got ${got}; send it again`);
  return bytes;
}
