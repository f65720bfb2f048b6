/** Errors by the names that the other side knows (`pocketportrait/errors.py`). */
export class InputError extends Error {
  name = "InputError";
}

/** Something that this browser or machine does not have. */
export class MissingToolError extends Error {
  name = "MissingToolError";
}
